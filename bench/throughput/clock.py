"""How long a device takes for a number of calls."""

import time

import torch

from bench.throughput.tasks import Call


def seconds(call: Call, repeats: int, device: str) -> float:
    """Seconds from the first to the last of `repeats` calls, the device idle at both ends: wall
    seconds on the CPU, on CUDA the device's own, between two events."""
    if device == "cuda":
        return _cuda_seconds(call, repeats)
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - started


def _cuda_seconds(call: Call, repeats: int) -> float:
    events = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start, end = events
    torch.cuda.synchronize()
    start.record()  # the device is idle: waiting for the host between calls is counted
    for _ in range(repeats):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000
