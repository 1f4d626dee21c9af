"""What the clock times: a training step, inference and sampling of one model alone, on a fixed
batch with noise drawn beforehand. Shapes: B batch, D pixels, S samples, T levels, L latent.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.throughput.clock import Call
from hvae.closed_form import flops_per_image as training_flops
from hvae.closed_form import weight_count
from hvae.config import RunConfig
from hvae.model import ancestral, initial
from hvae.training.cuda_graph import CapturedStep
from hvae.training.traced import Group

TASKS = ("train_step", "inference", "sampling")


def build_task(task: str, run: RunConfig, device: str, batch_size: int) -> Call:
    """A call that does the task once for `batch_size` images. On CUDA it returns before the device
    is done."""
    builders: dict[str, Callable[[RunConfig, str, int], Call]] = {
        "train_step": training_step,
        "inference": inference,
        "sampling": sampling,
    }
    return builders[task](run, device, batch_size)


def training_step(run: RunConfig, device: str, batch_size: int) -> Call:
    """One Adam step of the traced engine, for a pack of one; on CUDA captured."""
    group = Group([run], [0], run.model, [0], torch.device(device))
    step = CapturedStep(group.step, group.state) if device == "cuda" else group.step
    samples, sizes = run.train.importance_samples, run.model
    x = grey(run, device, batch_size)[None]
    shape = (1, batch_size, samples, sizes.num_layers, sizes.latent_dim)
    noise = torch.zeros(shape, device=device)
    step(x, noise)  # the first call traces, on CUDA captures: no part of the task
    return lambda: step(x, noise)


def inference(run: RunConfig, device: str, batch_size: int) -> Call:
    """Encode the batch through all levels and reconstruct it: the model's whole forward pass."""
    model = initial(run).to(device)
    x, noise = grey(run, device, batch_size), no_noise(run, device, batch_size)

    @torch.no_grad()
    def call() -> None:
        model(x, noise).logits.sigmoid()

    return call


def sampling(run: RunConfig, device: str, batch_size: int) -> Call:
    """Ancestral samples: every level from the one above, then the pixel means."""
    model, noise = initial(run).to(device), no_noise(run, device, batch_size)

    @torch.no_grad()
    def call() -> None:
        model.decode(0, ancestral(model, noise)[0]).sigmoid()

    return call


def flops_per_image(task: str, run: RunConfig) -> int:
    """FLOPs of the task's matrix products, per image: a forward pass costs 2 for each weight that
    it uses, a training step as `hvae.config.flops_per_image` says."""
    if task == "train_step":
        return training_flops(run)
    model = run.model
    widths = [model.input_dim] + [model.latent_dim] * (model.num_layers - 1)
    decoders = sum(model.hidden_dim * (model.latent_dim + width) for width in widths)
    return 2 * (weight_count(model) if task == "inference" else decoders)


def grey(run: RunConfig, device: str, batch_size: int) -> Tensor:
    """Images whose pixels are all one half: [B, D]. The clock does not care what they show."""
    return torch.full((batch_size, run.model.input_dim), 0.5, device=device)


def no_noise(run: RunConfig, device: str, batch_size: int) -> Tensor:
    """[B, T, L]"""
    return torch.zeros(batch_size, run.model.num_layers, run.model.latent_dim, device=device)
