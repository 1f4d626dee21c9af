"""The throughput ladder: from the documented loop to the packed engine, side by side.

Every rung has one-thread workers of its own. One rung runs at a time, in an order
drawn anew each round; ratios are taken within a round, so that a slow moment hits both sides.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench.ladder.loops import Order, carry_out
from bench.ladder.rungs import GAUGES, Gauge, Rung, Source
from hvae.processes import (
    Worker,
    WorkerFailed,
    lifeline,
    one_thread,
    own_cores,
    settle,
    start_worker,
    usable_cores,
)

Task = Rung | Gauge
Workers = dict[Task, list[Worker]]
Progress = Callable[[str], None]


class Window(NamedTuple):
    """Wall seconds of a call, from the start of all workers to the end of the last, and the
    seconds of processor that all of them got."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Ladder:
    """The windows of all rungs of one device, in climbing order, and of the gauges beside them."""

    source: Source
    rounds: int
    windows: dict[Task, list[Window]]
    left_out: list[str]  # title and reason of each rung that could not be built


def ladder(
    rungs: Sequence[Rung], source: Source, rounds: int, progress: Progress = lambda what: None
) -> Ladder:
    """Measure the rungs of one device, documented and in-memory first, over `rounds` rounds.

    A rung of C or JAX that cannot be built is left out; raises `WorkerFailed` where another cannot.
    """
    device, counts = rungs[0].device, sorted({rung.processes for rung in rungs})
    gauges = [
        Gauge(kind, repeats, device, count)
        for count in counts
        for kind, repeats in GAUGES[device].items()
    ]
    tasks: list[Task] = [*rungs, *gauges]
    progress("building")
    with lifeline() as line, ExitStack() as stack:
        workers: Workers = {}
        left_out: list[str] = []
        # Those of several workers last: they find compiled what the others have compiled.
        for is_shared in (False, True):
            phase = [task for task in tasks if (task.processes > 1) == is_shared]
            started = {
                task: [stack.enter_context(worker) for worker in _start(task, line)]
                for task in phase
            }
            workers |= _built(started, source, left_out)
        windows = _windows(workers, source, rounds, progress)
    return Ladder(source, rounds, {t: windows[t] for t in tasks if t in windows}, left_out)


def _start(task: Task, line: Connection) -> list[Worker]:
    """The workers of a task, each on a core of its own where it takes them all."""
    keeps_memory = isinstance(task, Rung) and task.kind == "pack"
    prepare = settle if keeps_memory else one_thread
    cores = own_cores(task.processes)
    if isinstance(task, Rung) and task.engine == "jax":
        # It would start a thread on every core that it sees.
        cores = own_cores(len(usable_cores()))[:1]
    return [start_worker(line, prepare, core) for core in cores]


def _built(started: Workers, source: Source, left_out: list[str]) -> Workers:
    """The workers of the tasks that could be built, all side by side, and warmed up; the others are
    added to `left_out`."""
    for task, workers in started.items():
        _send(workers, Order(task, source, 0))
    built: Workers = {}
    for task, workers in started.items():
        try:
            _cpu_seconds(workers)
        except WorkerFailed as error:
            if not (isinstance(task, Rung) and task.engine in ("compiled", "jax")):
                raise
            left_out.append(f"{task.title}: {str(error).splitlines()[0]}")
            continue
        built[task] = workers
    return built


def _windows(
    workers: Workers, source: Source, rounds: int, progress: Progress
) -> dict[Task, list[Window]]:
    """A window of each task in each round, every one warmed up."""
    windows: dict[Task, list[Window]] = {task: [] for task in workers}
    order, shuffle = list(workers), random.Random(0)
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        shuffle.shuffle(order)
        for task in order:
            warm_up, window = (Order(task, source, amount) for amount in task.amounts(source))
            call(workers[task], warm_up)
            windows[task].append(call(workers[task], window))
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
