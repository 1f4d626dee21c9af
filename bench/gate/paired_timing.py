"""Paired timing of two sides: a fresh worker of each, side by side on one core, block by block.

The process is the unit, not the block: two processes of the same code differ by several per cent
for their whole life. So a pair of processes gives one value a benchmark, and the value of the next
pair is independent of it. Base and head of a pair are treated alike in everything, and what must
come first is drawn by lot: where nothing changed they can be exchanged.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

from bench.gate.sides import Sides, SideWorker
from bench.gate.statistics import CLOCKS
from hvae.processes import lifeline, usable_cores

# Many short blocks by turns: what else runs on a core disturbs for a second, which cancels between
# neighbouring blocks. In the same time 80 of 0.02 s scatter a third as much as 16 of 0.1 s.
BLOCK_SECONDS = 0.02  # or a call, where that is longer
BLOCKS = 40  # of a pair
LANES = 2  # pairs at the same time, each on a core of its own

Progress = Callable[[str], None]


class Pair(NamedTuple):
    """One pair of processes and one benchmark. Seconds are of a call, medians over the blocks;
    a log ratio is the median over blocks of log(head / base)."""

    base_seconds: float
    head_seconds: float
    log_ratio: dict[str, float]  # by clock


Pairs = dict[str, list[Pair]]  # by benchmark, in the order of the pairs


def time_pairs(
    sides: Sides,
    benchmarks: Sequence[str],
    count: int,
    device: str,
    lot: random.Random,
    progress: Progress = lambda what: None,
) -> Pairs:
    """`count` pairs of fresh processes, each timing every benchmark. Raises `CannotMeasure`."""
    cores = usable_cores()[-LANES:] if device == "cpu" else usable_cores()[-1:]
    seeds = [lot.getrandbits(32) for _ in range(count)]
    free: SimpleQueue[int] = SimpleQueue()  # so that a busy core takes fewer
    for core in cores:
        free.put(core)

    # The lifeline is cut first, however this ends: so no lane waits for a worker.
    with ThreadPoolExecutor(len(cores)) as lanes, lifeline() as line:

        def time_pair(index: int) -> dict[str, Pair]:
            core, own = free.get(), random.Random(seeds[index])
            try:
                return _time_pair(line, sides, benchmarks, core, device, own)
            finally:
                free.put(core)
                progress(f"pair {index + 1} of {count}")

        pairs = list(lanes.map(time_pair, range(count)))
    return {name: [pair[name] for pair in pairs] for name in benchmarks}


def _time_pair(
    line: Connection,
    sides: Sides,
    benchmarks: Sequence[str],
    core: int,
    device: str,
    lot: random.Random,
) -> dict[str, Pair]:
    names = lot.sample(("base", "head"), 2)  # who starts
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(SideWorker(line, getattr(sides, name), core))
            for name in names
        }
        for name in names:
            workers[name].send({"do": "build", "device": device, "benchmarks": list(benchmarks)})
        once = [workers[name].receive() for name in names]
        pairs = {}
        for benchmark in lot.sample(list(benchmarks), len(benchmarks)):
            # The same number of calls for both, from the two of them together.
            seconds = statistics.mean(answer[benchmark] for answer in once)
            calls = math.ceil(BLOCK_SECONDS / seconds)
            order = {"do": "block", "device": device, "benchmark": benchmark, "calls": calls}
            pairs[benchmark] = _time_benchmark(workers, order, lot)
    return pairs


def _time_benchmark(
    workers: dict[str, SideWorker], order: dict[str, Any], lot: random.Random
) -> Pair:
    blocks = [
        {name: workers[name].ask(order) for name in lot.sample(("base", "head"), 2)}
        for _ in range(BLOCKS)
    ]
    seconds = {
        name: statistics.median(block[name]["busy"] / order["calls"] for block in blocks)
        for name in ("base", "head")
    }
    ratios = {
        clock.name: statistics.median(
            math.log(block["head"][clock.name] / block["base"][clock.name]) for block in blocks
        )
        for clock in CLOCKS
    }
    return Pair(seconds["base"], seconds["head"], ratios)
