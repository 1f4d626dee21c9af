"""The batch size at which a device does most images per second, found by doubling.

Where the engine traces, the plain module is searched in its place: tracing for every size on the
way would take longer than all the measurements, and the same operators saturate at the same size.
"""

import torch

from bench.throughput.clock import seconds
from bench.throughput.tasks import Task, build
from hvae.config import RunConfig
from hvae.data.images import Images

GAIN = 1.05  # less is within the noise of a try
SECONDS_PER_TRY = 0.003
TRIES = 2  # the fastest counts: what slows a try down is not the batch
LONGEST = 10  # calls of the run's own size: what has no batch in it is less than a tenth of that
FLOATS_PER_PIXEL = 10  # alive at once in a training step
CPU_BYTES = 2**28  # a worker that trains twenty models needs 700 MB: the search no more
CUDA_SHARE = 1 / 50  # of what is free: the captured steps of twenty cells are alive at once


def best_batch(task: Task, run: RunConfig, images: Images, device: str) -> int:
    """From the run's own batch size upward, the last doubling that gained 5 % in images per second
    and whose activations fit the memory. Two doublings without a gain end the search: one may have
    met a slow moment. None is tried that would take ten times as long as the run's own size."""
    task = task._replace(engine="module") if task.engine == "traced" else task
    size = best = run.train.batch_size
    limit, rate = _limit(run, device), _rate(task, run, images, device, best)
    longest = LONGEST * size / rate  # seconds
    while 2 * size <= limit and size < 4 * best and 2 * size / rate <= longest:
        size *= 2
        try:
            tried = _rate(task, run, images, device, size)
        except torch.OutOfMemoryError:  # others on the device took what was free
            break
        if tried >= GAIN * rate:
            best, rate = size, tried
    return best


def _rate(task: Task, run: RunConfig, images: Images, device: str, size: int) -> float:
    """Images per second of the fastest try."""
    work = build(task, run, images, device, size)
    repeats = max(1, round(SECONDS_PER_TRY / seconds(work.call, 1, device)))  # and warm up
    return work.images * repeats / min(seconds(work.call, repeats, device) for _ in range(TRIES))


def _limit(run: RunConfig, device: str) -> int:
    """Images of a batch whose activations fit the memory that a measurement may take."""
    bytes_ = CPU_BYTES if device == "cpu" else CUDA_SHARE * torch.cuda.mem_get_info()[0]
    floats = FLOATS_PER_PIXEL * run.train.importance_samples * run.model.input_dim
    return int(bytes_ // (4 * floats))
