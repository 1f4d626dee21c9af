"""What the benchmarks of `pytest bench` share: one thread, the machine's own rates, the clock.

No data set is needed: how long a step takes does not depend on what the images show.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.ladder.documented_loop import REFERENCE
from bench.ladder.loops import build_gauge
from bench.ladder.rungs import Gauge
from bench.throughput.best_batch import best_batch
from bench.throughput.tasks import Call, build, flops_per_image
from bench.throughput.traffic import traffic
from hvae.config import RunConfig
from hvae.processes import keep_freed_memory, one_thread

DEPTHS = (1, 2, 3, 4)
OWN, BEST = "own_batch", "best_batch"
GAUGE_CALLS = 20  # a peak is the fastest of them: neighbours only slow it down

Clock = Callable[[str], None]


class Peaks(NamedTuple):
    """What the device does at most, with one thread as the benchmarks have."""

    flops_per_second: float
    bytes_per_second: float


@pytest.fixture(scope="session", autouse=True)
def _as_a_worker() -> None:
    one_thread()
    keep_freed_memory()


@pytest.fixture(params=("cpu", "cuda"))
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return str(request.param)


@pytest.fixture(params=DEPTHS, ids=lambda depth: f"depth_{depth}")
def run(request: pytest.FixtureRequest) -> RunConfig:
    """The documented setting at one depth."""
    return replace(REFERENCE, model=replace(REFERENCE.model, num_layers=request.param))


@pytest.fixture(params=(OWN, BEST))
def batch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(device: str, run: RunConfig, batch: str, benchmark: BenchmarkFixture) -> Clock:
    """Times a task by name, and notes beside it what the time has to be compared with."""

    def time_task(task: str) -> None:
        size = run.train.batch_size if batch == OWN else _best_batch(task, run, device)
        flops, moved = size * flops_per_image(task, run), traffic(task, run).bytes(size)
        benchmark.group = f"depth {run.model.num_layers}, {device}"
        benchmark.extra_info |= {"task": task, "batch_size": size, "flops": flops, "bytes": moved}
        benchmark(_synchronised(build(task, run, device, size), device))
        if benchmark.stats is None:  # --benchmark-disable
            return
        calls_per_second, peaks = 1 / benchmark.stats.stats.median, _peaks(device)
        benchmark.extra_info |= {
            "images_per_second": size * calls_per_second,
            "fraction_of_peak": flops * calls_per_second / peaks.flops_per_second,
            "fraction_of_copy_bandwidth": moved * calls_per_second / peaks.bytes_per_second,
        }

    return time_task


@cache
def _best_batch(task: str, run: RunConfig, device: str) -> int:
    return best_batch(task, run, device)


@cache
def _peaks(device: str) -> Peaks:
    return Peaks(_rate("sgemm", device), _rate("copy", device))


def _rate(kind: str, device: str) -> float:
    """FLOP or bytes per second of a gauge's fastest call."""
    gauge = Gauge(kind, 1, device)
    call, taken = build_gauge(gauge), []
    # A core's own time: a call is long enough that a busy machine interrupts every one of them.
    clock = time.process_time if device == "cpu" else time.perf_counter
    for _ in range(GAUGE_CALLS):
        started = clock()
        call(1)  # until the device is done
        taken.append(clock() - started)
    return gauge.work / min(taken)


def _synchronised(call: Call, device: str) -> Call:
    """The call until the device is done."""
    if device == "cpu":
        return call

    def wait() -> None:
        call()
        torch.cuda.synchronize()

    return wait
