"""Bytes that a task moves, of parameters and activations alike."""

from functools import cache

from bench.throughput.recorder import Recorder
from bench.throughput.tasks import build_task
from hvae.config import RunConfig

SMALL, LARGE = 8, 16  # images of a batch


def moved_bytes(task: str, run: RunConfig, batch_size: int) -> int:
    """Bytes read and written by a call, from two batches that are counted on the CPU: a tensor has
    either the batch as a factor of its size, or a size of its own."""
    small, large = _counted(task, run, SMALL), _counted(task, run, LARGE)
    return small + (batch_size - SMALL) * (large - small) // (LARGE - SMALL)


@cache
def _counted(task: str, run: RunConfig, batch_size: int) -> int:
    call, recorder = build_task(task, run, "cpu", batch_size), Recorder()
    with recorder:
        call()
    return recorder.input_bytes + recorder.output_bytes
