"""The batch size at which a device does most images per second, found by doubling.

The search times an untraced training step: tracing the engine's own for every size on the way
would take longer than all the measurements. The operators are the same, so is where they saturate.
"""

import torch

from bench.throughput.clock import Call, seconds
from bench.throughput.tasks import build_task, grey
from hvae.config import RunConfig
from hvae.model import initial
from hvae.objectives import Settings, objective

GAIN = 1.05  # less is within the noise of a try
SECONDS_PER_TRY = 0.003
TRIES = 3  # the fastest counts: what slows a try down is not the batch
FLOATS_PER_PIXEL = 10  # alive at once in a training step
CPU_BYTES = 2**28  # a worker that trains twenty models needs 700 MB: the search no more
CUDA_SHARE = 1 / 20  # of what is free: the captured steps of ten cells are alive at once


def best_batch(task: str, run: RunConfig, device: str) -> int:
    """From the run's own batch size upward, the last doubling that gained 5 % in images per second
    and whose activations fit the memory. Two doublings without a gain end the search: one may have
    met a slow moment."""
    size = best = run.train.batch_size
    limit, rate = _limit(run, device), _rate(task, run, device, best)
    while 2 * size <= limit and size < 4 * best:
        size *= 2
        try:
            tried = _rate(task, run, device, size)
        except torch.OutOfMemoryError:  # others on the device took what was free
            break
        if tried >= GAIN * rate:
            best, rate = size, tried
    return best


def untraced_step(run: RunConfig, device: str, batch_size: int) -> Call:
    """Forward and backward of the run's objective, without Adam, whose cost has no batch in it."""
    model, x = initial(run).to(device), grey(run, device, batch_size)
    train, sizes = run.train, run.model
    shape = (train.importance_samples, batch_size, sizes.num_layers, sizes.latent_dim)
    noise = torch.zeros(shape, device=device)
    noise = noise if train.objective == "iwae" else noise[0]
    weights = (train.kl_weight, train.free_bits or -torch.inf, 1.0)
    settings = Settings(*(torch.tensor(value, device=device) for value in weights))

    def call() -> None:
        model.zero_grad()
        loss = objective(train.objective, train.loss, model(x, noise), x, settings).loss
        loss.backward()  # type: ignore[no-untyped-call]

    return call


def _rate(task: str, run: RunConfig, device: str, size: int) -> float:
    """Images per second of the fastest try."""
    is_training = task == "train_step"
    call = untraced_step(run, device, size) if is_training else build_task(task, run, device, size)
    call()
    once = seconds(call, 1, device)
    repeats = max(1, round(SECONDS_PER_TRY / once))
    fastest = min(seconds(call, repeats, device) for _ in range(TRIES))
    return size * repeats / fastest


def _limit(run: RunConfig, device: str) -> int:
    """Images of a batch whose activations fit the memory that a measurement may take."""
    bytes_ = CPU_BYTES if device == "cpu" else CUDA_SHARE * torch.cuda.mem_get_info()[0]
    floats = FLOATS_PER_PIXEL * run.train.importance_samples * run.model.input_dim
    return int(bytes_ // (4 * floats))
