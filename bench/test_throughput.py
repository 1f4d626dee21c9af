"""Ordinary pytest-benchmark tests of one model alone: `pytest bench`, `pytest bench -k sampling`.

No data set is needed: noise stands in for MNIST, as dark as that.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.ladder.documented_loop import REFERENCE
from bench.ladder.loops import gauge_loop
from bench.ladder.rungs import Gauge
from bench.throughput.best_batch import best_batch
from bench.throughput.clock import Call, timed
from bench.throughput.tasks import build, dark_noise, flops_per_image, tasks
from bench.throughput.traffic import moved_bytes
from hvae.processes import keep_freed_memory, one_thread

DEPTHS = (1, 2, 3, 4)
TASKS = ("train_step", "train_step_module", "inference", "sampling")  # the first by its engine
IMAGES = 4096  # of the noise, before they are repeated
GAUGE_CALLS = 20  # a peak is the fastest of them: neighbours only slow it down


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
    timed_task = tasks(run, device)[TASKS.index(task)]
    images = dark_noise(run.model.input_dim, IMAGES)
    size = best_batch(timed_task, run, images, device) if is_best else run.train.batch_size
    work = build(timed_task, run, images, device, size)
    flops = work.images * flops_per_image(timed_task.name, run)
    moved = moved_bytes(timed_task.name, run, images, size) * work.images // size
    benchmark.group = f"depth {depth}, {device}"
    benchmark.extra_info |= {
        **{"task": timed_task.name, "engine": timed_task.engine},
        **{"batch_size": size, "flops": flops, "bytes": moved},
    }
    benchmark(_synchronised(work.call, device))
    if benchmark.stats is None:  # --benchmark-disable
        return
    calls_per_second = 1 / benchmark.stats.stats.median
    benchmark.extra_info |= {
        "images_per_second": work.images * calls_per_second,
        "fraction_of_peak": flops * calls_per_second / _rate("sgemm", device),
        "fraction_of_copy_bandwidth": moved * calls_per_second / _rate("copy", device),
    }


@cache
def _rate(kind: str, device: str) -> float:
    """FLOP or bytes per second that the device does at most, with one thread as the benchmarks
    have: of a gauge's fastest call."""
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
