"""The throughput ladder: from the documented loop to the packed engine, side by side.

Every rung lives in spawned one-thread processes of its own. One rung runs at a time, in an order
drawn anew each round; ratios are taken within a round, so that a slow moment hits both sides.
"""

import os
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil

from bench.ladder.crews import Crew, ProcessDied, Window
from bench.ladder.documented_loop import REFERENCE
from bench.ladder.loops import build_gauge, build_rung
from bench.ladder.rungs import BATCH, GAUGES, Gauge, Rung, Source
from bench.throughput.spread import Spread, spread
from hvae.closed_form import flops_per_image
from hvae.processes import usable_cores

BYTES_PER_MODEL_STEP = 10e6  # unfused traffic of a training step, half of it Adam's
WARM_UP = 0.1  # of a window, before each window

Task = Rung | Gauge
Progress = Callable[[str], None]


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

    A compiled rung that cannot be built is left out; raises `ProcessDied` where another cannot.
    """
    device, counts = rungs[0].device, sorted({rung.processes for rung in rungs})
    gauges = {
        count: [Gauge(kind, repeats, device, count) for kind, repeats in GAUGES[device].items()]
        for count in counts
    }
    tasks: list[Task] = [*rungs, *(gauge for pair in gauges.values() for gauge in pair)]
    with ExitStack() as stack:
        crews: dict[Task, Crew] = {}
        # Those of several processes last: they find compiled what the others have compiled.
        for is_shared in (False, True):
            phase = [task for task in tasks if (task.processes > 1) == is_shared]
            crews |= _crews(phase, source, stack, progress)
        windows = _windows(crews, source, rounds, progress)
    rates = {count: _machine_rates(count, pair, windows) for count, pair in gauges.items()}
    timed = {rung: windows[rung] for rung in rungs if rung in windows}
    missing = [rung.title for rung in rungs if rung not in timed]
    measured = measure(timed, source, rates)
    return Ladder(source, rounds, list(rates.values()), measured, missing)


def _crews(
    tasks: Sequence[Task], source: Source, stack: ExitStack, progress: Progress
) -> dict[Task, Crew]:
    """The processes of each task, built side by side and warmed up, dismissed with the stack."""
    started = {task: _start(task, source) for task in tasks}
    for crew in started.values():
        stack.callback(crew.dismiss)
    for crew in started.values():  # all of them before the first is waited for
        stack.callback(crew.release)
    crews = {}
    for task, crew in started.items():
        try:
            crew.wait()
        except ProcessDied:
            if not (isinstance(task, Rung) and task.engine == "compiled"):
                raise
            continue
        crews[task] = crew
        progress("built")
    return crews


def _start(task: Task, source: Source) -> Crew:
    """A process a core where the task takes all cores, else wherever the system puts them."""
    all_cores = usable_cores()
    is_pinned = task.processes == len(all_cores) > 1 and hasattr(os, "sched_setaffinity")
    cores = all_cores if is_pinned else [None] * task.processes
    if isinstance(task, Gauge):
        return Crew(cores, False, build_gauge, task)
    return Crew(cores, task.kind == "pack", build_rung, task, source)


def _windows(
    crews: dict[Task, Crew], source: Source, rounds: int, progress: Progress
) -> dict[Task, list[Window]]:
    """A window of each task in each round, every one warmed up."""
    windows: dict[Task, list[Window]] = {task: [] for task in crews}
    order, shuffle = list(crews), random.Random(0)
    for _ in range(rounds):
        shuffle.shuffle(order)
        for task in order:
            warm_up, window = _counts(task, source)
            crews[task].call(warm_up)
            windows[task].append(crews[task].call(window))
            progress("measured")
    return windows


def _counts(task: Task, source: Source) -> tuple[int, int]:
    """What a process is called with to warm up and to be timed: images, or repeats of a gauge."""
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
