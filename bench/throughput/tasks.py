"""What the clock times, of one model alone: a training step by the engine that trains it and by the
plain module, inference and sampling by the module. Shapes: N images, B batch, D pixels, S samples,
T levels, L latent.

The images are real ones, in memory: the step in C leaves out dark pixels, and what it does for an
image depends on what that shows.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.throughput.clock import Call
from hvae.closed_form import decoder_weights, weight_count
from hvae.closed_form import flops_per_image as training_flops
from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.model.hierarchy import ancestral, initial
from hvae.model.objectives import Settings, objective
from hvae.training.adam import Adam
from hvae.training.compiled import obstacle
from hvae.training.draws import Draws
from hvae.training.fit import choose

DARK = 0.8  # of the pixels of `dark_noise`
# Of an epoch that is timed, or one batch where that is more: what an epoch does once disappears
# beside its steps. CUDA steps are shorter, and waiting for the last of them is longer.
EPOCH_IMAGES = {"cpu": 1024, "cuda": 8192}
# Epochs of a training that is timed: on CUDA the next one is drawn ahead, and none after the last.
ENDLESS = 10**6


class Task(NamedTuple):
    """train_step, inference or sampling, by an engine of `hvae.training`, compiled or traced, or
    by the module: the model as a user would call it."""

    name: str
    engine: str


class Work(NamedTuple):
    """A call, which on CUDA returns before the device is done, and for how many images it does
    the task."""

    call: Call
    images: int


def tasks(run: RunConfig, device: str) -> tuple[Task, ...]:
    """All that is timed of a run on a device; first the engine that trains it there."""
    is_declined = obstacle(run, torch.device(device), torch.float32)
    return (
        Task("train_step", "traced" if is_declined else "compiled"),
        *(Task(name, "module") for name in ("train_step", "inference", "sampling")),
    )


def build(task: Task, run: RunConfig, images: Images, device: str, batch_size: int) -> Work:
    """The work of a task at a batch size; the first call warms up."""
    if task.engine != "module":
        return engine_training(task.engine, run, images, device, batch_size)
    builders: dict[str, Callable[[RunConfig, Tensor], Call]] = {
        "train_step": module_training,
        "inference": inference,
        "sampling": sampling,
    }
    pixels = torch.from_numpy(repeated(images, batch_size).train).to(device)
    x = pixels.float() / images.train_levels  # [B, D]
    return Work(builders[task.name](run, x), batch_size)


def engine_training(
    name: str, run: RunConfig, images: Images, device: str, batch_size: int
) -> Work:
    """Short epochs of a pack of one, batches laid out and noise drawn as in any other."""
    sized = replace(run, train=replace(run.train, batch_size=batch_size, epochs=ENDLESS))
    count = batch_size * max(1, EPOCH_IMAGES[device] // batch_size)
    pixels = images.train[:count]
    means = torch.tensor(pixels.mean(0) / images.train_levels)
    engine, _ = choose([sized], torch.device(device), torch.float32, name, means)
    draws = Draws([sized], repeated(images, count), torch.device(device))
    epochs = itertools.count(1)
    return Work(lambda: engine.epoch(draws, next(epochs), 1.0), count)


def module_training(run: RunConfig, x: Tensor) -> Call:
    """Forward, backward and a fused Adam of the plain module on one batch, operator by operator."""
    model, train = initial(run, x.mean(0).cpu()).to(x.device), run.train
    # As torch's own, whose first use imports for seconds.
    optimizer = Adam(list(model.parameters()), train.learning_rate)
    noise = no_noise(run, x)
    if train.objective == "iwae":
        noise = noise.expand(train.importance_samples, *noise.shape)
    weights = (train.kl_weight, train.free_bits or -torch.inf, 1.0)
    settings = Settings(*(torch.tensor(value, device=x.device) for value in weights))

    def call() -> None:
        model.zero_grad()
        loss = objective(train.objective, train.loss, model(x, noise), x, settings).loss
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            optimizer.step([p.grad for p in model.parameters() if p.grad is not None])

    return call


def inference(run: RunConfig, x: Tensor) -> Call:
    """Encode a batch through all levels and reconstruct it: the model's whole forward pass."""
    model, noise = initial(run, x.mean(0).cpu()).to(x.device), no_noise(run, x)

    @torch.no_grad()
    def call() -> None:
        model.likelihood.mean(model(x, noise).logits)

    return call


def sampling(run: RunConfig, x: Tensor) -> Call:
    """Ancestral samples, as many as x has images: every level from the one above, then the pixel
    means."""
    model, noise = initial(run, x.mean(0).cpu()).to(x.device), no_noise(run, x)

    @torch.no_grad()
    def call() -> None:
        model.likelihood.mean(model.decode(0, ancestral(model, noise)[0]))

    return call


def flops_per_image(name: str, run: RunConfig) -> int:
    """FLOPs of the matrix products of a task, per image: a forward pass costs 2 for each weight
    that it uses, a training step as `hvae.closed_form.flops_per_image` says."""
    if name == "train_step":
        return training_flops(run)
    model = run.model
    return 2 * (weight_count(model) if name == "inference" else decoder_weights(model))


def repeated(images: Images, count: int) -> Images:
    """The first `count` training images, from the first again where there are fewer."""
    return replace(images, train=np.resize(images.train, (count, images.train.shape[1])))


@cache
def dark_noise(pixels: int, count: int) -> Images:
    """Noise for images, four in five of its pixels dark as in MNIST."""
    random = np.random.default_rng(0)
    noise = random.integers(1, 256, (count, pixels), dtype=np.uint8)
    noise[random.random(noise.shape) < DARK] = 0
    labels = np.zeros(count, np.uint8)
    return Images(noise, labels, 255, noise, labels, 255, noise, "noise")


def no_noise(run: RunConfig, x: Tensor) -> Tensor:
    """[B, T, L]"""
    return x.new_zeros(len(x), run.model.num_layers, run.model.latent_dim)
