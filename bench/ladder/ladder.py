"""The throughput ladder: from the documented loop to the packed engine, side by side.

Every rung has one-thread workers of its own. One rung runs at a time, in an order
drawn anew each round; ratios are taken within a round, so that a slow moment hits both sides.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench.ladder.documented_loop import REFERENCE
from bench.ladder.loops import Order, carry_out
from bench.ladder.rungs import BATCH, GAUGES, Gauge, Rung, Source
from bench.throughput.spread import Spread, spread
from hvae.closed_form import flops_per_image
from hvae.processes import (
    Worker,
    WorkerFailed,
    lifeline,
    one_thread,
    own_cores,
    settle,
    start_worker,
)

BYTES_PER_MODEL_STEP = 10e6  # unfused traffic of a training step, half of it Adam's
WARM_UP = 0.1  # of a window, before each window

Task = Rung | Gauge
Workers = dict[Task, list[Worker]]
Progress = Callable[[str], None]


class Window(NamedTuple):
    """Wall seconds of a call, from the start of all workers to the end of the last, and the
    seconds of processor that all of them got."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class MeasuredRung:
    """A rung with its rates, its ratios to the first two rungs, and its share of the machine."""

    rung: Rung
    model_steps_per_second: Spread
    images_per_second: Spread
    ratio_to_documented: Spread
    ratio_to_in_memory: Spread
    fraction_of_sgemm: float
    fraction_of_copy_bandwidth: float
    fraction_of_cores: float  # processor time it got; less than 1 where others worked beside it
    model_steps_per_second_by_round: list[float]


@dataclass(frozen=True)
class MachineRates:
    """What the machine did in `processes` processes at once."""

    processes: int
    sgemm_gflop_per_second: Spread
    copy_gigabytes_per_second: Spread


@dataclass(frozen=True)
class Ladder:
    """All rungs of one device, in climbing order."""

    source: Source
    rounds: int
    rates: list[MachineRates]
    rungs: list[MeasuredRung]
    left_out: list[str]  # titles of the rungs that could not be built


def ladder(
    rungs: Sequence[Rung], source: Source, rounds: int, progress: Progress = lambda what: None
) -> Ladder:
    """Measure the rungs of one device, documented and in-memory first, over `rounds` rounds.

    A compiled rung that cannot be built is left out; raises `WorkerFailed` where another cannot.
    """
    device, counts = rungs[0].device, sorted({rung.processes for rung in rungs})
    gauges = {
        count: [Gauge(kind, repeats, device, count) for kind, repeats in GAUGES[device].items()]
        for count in counts
    }
    tasks: list[Task] = [*rungs, *(gauge for pair in gauges.values() for gauge in pair)]
    with lifeline() as line, ExitStack() as stack:
        workers: Workers = {}
        # Those of several workers last: they find compiled what the others have compiled.
        for is_shared in (False, True):
            phase = [task for task in tasks if (task.processes > 1) == is_shared]
            started = {
                task: [stack.enter_context(worker) for worker in _start(task, line)]
                for task in phase
            }
            workers |= _built(started, source, progress)
        windows = _windows(workers, source, rounds, progress)
    rates = {count: _machine_rates(count, pair, windows) for count, pair in gauges.items()}
    timed = {rung: windows[rung] for rung in rungs if rung in windows}
    missing = [rung.title for rung in rungs if rung not in timed]
    measured = measure(timed, source, rates)
    return Ladder(source, rounds, list(rates.values()), measured, missing)


def _start(task: Task, line: Connection) -> list[Worker]:
    """The workers of a task, each on a core of its own where it takes them all."""
    keeps_memory = isinstance(task, Rung) and task.kind == "pack"
    prepare = settle if keeps_memory else one_thread
    return [start_worker(line, prepare, core) for core in own_cores(task.processes)]


def _built(started: Workers, source: Source, progress: Progress) -> Workers:
    """The workers of the tasks that could be built, all side by side, and warmed up."""
    for task, workers in started.items():
        _send(workers, Order(task, source, 0))
    built: Workers = {}
    for task, workers in started.items():
        try:
            _cpu_seconds(workers)
        except WorkerFailed:
            if not (isinstance(task, Rung) and task.engine == "compiled"):
                raise
            continue
        built[task] = workers
        progress("built")
    return built


def _windows(
    workers: Workers, source: Source, rounds: int, progress: Progress
) -> dict[Task, list[Window]]:
    """A window of each task in each round, every one warmed up."""
    windows: dict[Task, list[Window]] = {task: [] for task in workers}
    order, shuffle = list(workers), random.Random(0)
    for _ in range(rounds):
        shuffle.shuffle(order)
        for task in order:
            warm_up, window = _counts(task, source)
            call(workers[task], Order(task, source, warm_up))
            windows[task].append(call(workers[task], Order(task, source, window)))
            progress("measured")
    return windows


def call(workers: Sequence[Worker], order: Order) -> Window:
    """A window of all these workers at once. Raises `WorkerFailed`."""
    started = time.perf_counter()
    _send(workers, order)
    cpu_seconds = _cpu_seconds(workers)
    return Window(time.perf_counter() - started, cpu_seconds)


def _send(workers: Sequence[Worker], order: Order) -> None:
    for worker in workers:
        worker.call(carry_out, order)


def _cpu_seconds(workers: Sequence[Worker]) -> float:
    return math.fsum(worker.result() for worker in workers)


def _counts(task: Task, source: Source) -> tuple[int, int]:
    """What a worker is called with to warm up and to be timed: images, or repeats of a gauge."""
    if isinstance(task, Gauge):
        return 1, task.repeats
    window = task.images(source)
    # Whole batches: a short one would be of a shape not yet traced, compiled or captured.
    return min(window, BATCH * ceil(WARM_UP * task.steps)), window


def measure(
    timed: dict[Rung, list[Window]], source: Source, machine: dict[int, MachineRates]
) -> list[MeasuredRung]:
    """From windows to rates, ratios and fractions; the first two rungs are the references."""
    rates = {rung: _rates(rung, source, windows) for rung, windows in timed.items()}
    documented, in_memory = list(rates.values())[:2]
    return [
        MeasuredRung(
            rung=rung,
            model_steps_per_second=spread(rates[rung]),
            images_per_second=_images_per_second(rung, source, rates[rung]),
            ratio_to_documented=_ratio(rates[rung], documented),
            ratio_to_in_memory=_ratio(rates[rung], in_memory),
            **_fractions(rung, source, rates[rung], machine[rung.processes]),
            fraction_of_cores=statistics.median(
                window.cpu_seconds / window.seconds / rung.processes for window in windows
            ),
            model_steps_per_second_by_round=rates[rung],
        )
        for rung, windows in timed.items()
    ]


def _rates(rung: Rung, source: Source, windows: Sequence[Window]) -> list[float]:
    """Model-steps per second of each round."""
    steps = rung.models * rung.processes * ceil(rung.images(source) / BATCH)
    return [steps / window.seconds for window in windows]


def _images_per_second(rung: Rung, source: Source, rates: Sequence[float]) -> Spread:
    images = rung.images(source)
    return spread([rate * images / ceil(images / BATCH) for rate in rates])


def _fractions(
    rung: Rung, source: Source, rates: Sequence[float], machine: MachineRates
) -> dict[str, float]:
    """Of the machine's own rates with as many processes, medians of both."""
    images = _images_per_second(rung, source, rates).median
    sgemm, copy = machine.sgemm_gflop_per_second.median, machine.copy_gigabytes_per_second.median
    return {
        "fraction_of_sgemm": images * flops_per_image(REFERENCE) / (1e9 * sgemm),
        "fraction_of_copy_bandwidth": spread(rates).median * BYTES_PER_MODEL_STEP / (1e9 * copy),
    }


def _machine_rates(
    processes: int, gauges: Sequence[Gauge], windows: dict[Task, list[Window]]
) -> MachineRates:
    sgemm, copy = (spread([g.work / 1e9 / w.seconds for w in windows[g]]) for g in gauges)
    return MachineRates(processes, sgemm, copy)


def _ratio(rates: Sequence[float], reference: Sequence[float]) -> Spread:
    """Of the rates of the same round."""
    return spread([rate / other for rate, other in zip(rates, reference, strict=True)])
