"""Ordinary pytest-benchmark tests of one model alone: `pytest bench`, `pytest bench -k sampling`.

No data set is needed: how long a step takes does not depend on what the images show.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.ladder.documented_loop import REFERENCE
from bench.ladder.loops import gauge_loop
from bench.ladder.rungs import Gauge
from bench.throughput.best_batch import best_batch
from bench.throughput.clock import Call, timed
from bench.throughput.tasks import TASKS, build_task, flops_per_image
from bench.throughput.traffic import moved_bytes
from hvae.processes import keep_freed_memory, one_thread

DEPTHS = (1, 2, 3, 4)
GAUGE_CALLS = 20  # a peak is the fastest of them: neighbours only slow it down


class Peaks(NamedTuple):
    """What the device does at most, with one thread as the benchmarks have."""

    flops_per_second: float
    bytes_per_second: float


@pytest.fixture(scope="session", autouse=True)
def _as_a_worker() -> None:
    one_thread()
    keep_freed_memory()


@pytest.mark.parametrize("is_best", [False, True], ids=["own_batch", "best_batch"])
@pytest.mark.parametrize("depth", DEPTHS, ids=lambda depth: f"depth_{depth}")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("task", TASKS)
def test_throughput(
    task: str, device: str, depth: int, is_best: bool, benchmark: BenchmarkFixture
) -> None:
    """Times a task, and notes beside it what the time has to be compared with."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    run = replace(REFERENCE, model=replace(REFERENCE.model, num_layers=depth))
    size = best_batch(task, run, device) if is_best else run.train.batch_size
    flops, moved = size * flops_per_image(task, run), moved_bytes(task, run, size)
    benchmark.group = f"depth {depth}, {device}"
    benchmark.extra_info |= {"task": task, "batch_size": size, "flops": flops, "bytes": moved}
    benchmark(_synchronised(build_task(task, run, device, size), device))
    if benchmark.stats is None:  # --benchmark-disable
        return
    calls_per_second, peaks = 1 / benchmark.stats.stats.median, _peaks(device)
    benchmark.extra_info |= {
        "images_per_second": size * calls_per_second,
        "fraction_of_peak": flops * calls_per_second / peaks.flops_per_second,
        "fraction_of_copy_bandwidth": moved * calls_per_second / peaks.bytes_per_second,
    }


@cache
def _peaks(device: str) -> Peaks:
    return Peaks(_rate("sgemm", device), _rate("copy", device))


def _rate(kind: str, device: str) -> float:
    """FLOP or bytes per second of a gauge's fastest call."""
    gauge = Gauge(kind, 1, device)
    call = gauge_loop(gauge)
    # A core's own time: a call is long enough that a busy machine interrupts every one of them.
    return gauge.work / min(timed(lambda: call(1), 1, device).busy for _ in range(GAUGE_CALLS))


def _synchronised(call: Call, device: str) -> Call:
    """The call until the device is done."""
    if device == "cpu":
        return call

    def wait() -> None:
        call()
        torch.cuda.synchronize()

    return wait
