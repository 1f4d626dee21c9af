"""Exact counts of a workload: what it does, whatever the clock says.

After two warm calls every call does the same, so a count has no spread. Each is taken twice; where
the two differ the count is no count, and that is an error.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.gate.side.harness import BENCHMARKS, OPERATORS
from bench.gate.side.workloads import build
from bench.throughput.clock import Call
from bench.throughput.recorder import Recorder

WARM_CALLS = 2  # the first traces, the second is the first to find everything in place
HOST_SYNC = "aten._local_scalar_dense.default"  # what `.item()` and `float(tensor)` end in
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")

Counts = dict[str, int]


class UnstableCount(RuntimeError):
    """A count that two equal calls do not agree on: the message names it and both values."""


def count_all(device: str) -> dict[str, Counts]:
    """The counts of every benchmark. Raises `UnstableCount`."""
    return {benchmark: count(benchmark, device) for benchmark in BENCHMARKS}


def count(benchmark: str, device: str) -> Counts:
    """The counts of one benchmark, metric by metric, bytes and FLOPs whole. Raises
    `UnstableCount`."""
    workload = build(benchmark, device)
    for _ in range(WARM_CALLS):
        workload.counted()
    _once(partial(torch.zeros, 1), "cpu")  # the first use imports torch._dynamo, which is kept
    first, second = (_once(workload.counted, device) for _ in range(2))
    require_stable(benchmark, first, second)
    return {
        "parameters": workload.parameters,
        "python_calls": _python_calls(workload.counted),  # advisory: counted once
        **second,
    }


def require_stable(benchmark: str, first: Counts, second: Counts) -> None:
    """Raise `UnstableCount` where two counts of the same thing differ."""
    for metric in sorted(first.keys() | second.keys()):
        before, after = first.get(metric), second.get(metric)
        if before != after:
            raise UnstableCount(
                f"{benchmark}.{metric} is unstable: {before}, then {after} in an equal call"
            )


def _once(call: Call, device: str) -> Counts:
    with _no_garbage_collection():
        with Recorder() as recorder, FlopCounterMode(display=False) as flops:
            call()
        retained_bytes = recorder.live_bytes()  # now: the next call may replace what is kept
        counts = {
            "flops": int(flops.get_total_flops()),
            "output_bytes": recorder.output_bytes,
            "peak_bytes": recorder.peak_bytes,
            "retained_bytes": retained_bytes,
            "host_syncs": recorder.operators[HOST_SYNC],
        }
        if device == "cuda":
            counts |= _cuda(call)
    operators = sorted(recorder.operators.items())
    return counts | {f"{OPERATORS}{name}": calls for name, calls in operators}


def _python_calls(call: Call) -> int:
    """Calls of Python functions, those of torch included."""
    calls = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    with _no_garbage_collection():
        sys.setprofile(profile)
        try:
            call()
        finally:
            sys.setprofile(None)
    return calls


def _cuda(call: Call) -> Counts:
    """Kernel launches, and the allocator's own peak."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities, acc_events=True) as profiled:  # else it warns
        call()
        torch.cuda.synchronize()
    launches = sum(e.count for e in profiled.key_averages() if e.key in LAUNCHES)
    assert launches > 0, "the profiler saw no kernel launch: it does not work here"
    return {
        "kernel_launches": launches,
        "max_memory_allocated": torch.cuda.max_memory_allocated(),
    }


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection at a moment of its own choosing would free what a count still sees."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
