"""How long a device takes for a number of calls. Imports torch on CUDA only, and nothing of ours:
the gate copies this file into both sides of a comparison."""

import time
from collections.abc import Callable
from typing import NamedTuple

Call = Callable[[], object]


class Seconds(NamedTuple):
    """`busy` of this thread, on CUDA of the device's own clock; `wall` on the wall's."""

    busy: float
    wall: float


def timed(call: Call, repeats: int, device: str) -> Seconds:
    """Seconds from the first to the last of `repeats` calls, the device idle at both ends."""
    busy, wall = _cuda_clock() if device == "cuda" else time.thread_time, time.perf_counter
    busy_started, wall_started = busy(), wall()
    for _ in range(repeats):
        call()
    return Seconds(busy() - busy_started, wall() - wall_started)


def seconds(call: Call, repeats: int, device: str) -> float:
    """What the device took for `repeats` calls: wall seconds on the CPU, on CUDA its own."""
    taken = timed(call, repeats, device)
    return taken.busy if device == "cuda" else taken.wall


def _cuda_clock() -> Callable[[], float]:
    """Seconds on the GPU's own clock, all its work done."""
    import torch

    started = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    started.record()  # the device is idle: waiting for the host between calls is counted

    def read() -> float:
        now = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        now.record()
        torch.cuda.synchronize()
        return float(started.elapsed_time(now)) / 1000.0

    return read
