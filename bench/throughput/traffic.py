"""Bytes that a task of the plain module moves, of parameters and activations alike."""

from functools import cache

from bench.throughput.recorder import Recorder
from bench.throughput.tasks import Task, build
from hvae.config import RunConfig
from hvae.data.images import Images

SMALL, LARGE = 8, 16  # images of a batch


def moved_bytes(name: str, run: RunConfig, images: Images, batch_size: int) -> int:
    """Bytes read and written by a call, from two batches that are counted on the CPU: a tensor has
    either the batch as a factor of its size, or a size of its own."""
    small, large = (_counted(name, run, images, size) for size in (SMALL, LARGE))
    return small + (batch_size - SMALL) * (large - small) // (LARGE - SMALL)


@cache
def _counted(name: str, run: RunConfig, images: Images, batch_size: int) -> int:
    call, recorder = build(Task(name, "module"), run, images, "cpu", batch_size).call, Recorder()
    call()  # Adam makes its moments
    with recorder:
        call()
    return recorder.input_bytes + recorder.output_bytes
