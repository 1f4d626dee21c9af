"""The one training loop, for 1 to K models at once. Shapes: K members, U different seeds, N images,
B batch, D pixels, S samples, T levels, L latent.

A pack is K separate trainings: the loss is summed over the members, never averaged, and Adam is
elementwise. Members of a seed share batches and noise, whoever trains beside them. On a CPU with a
C compiler the step is that of `compiled.py`; the traced one is its reference, and runs elsewhere.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hvae import streams
from hvae.config import RunConfig, require_packable
from hvae.data.images import Images, binarize
from hvae.model import HierarchicalVAE
from hvae.training.compiled import Fused, compiled_step
from hvae.training.cuda_graph import CapturedStep
from hvae.training.draws import Draw, kl_ramp
from hvae.training.stacking import unstack, widest
from hvae.training.traced import Group, group_members, transposed


@dataclass(frozen=True)
class Fit:
    """Trained models and their histories, both in the order of the runs."""

    models: list[HierarchicalVAE]
    histories: list[list[dict[str, Any]]]
    seconds: float
    is_compiled: bool


def fit(
    runs: Sequence[RunConfig],
    images: Images,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    is_compiled: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Train K runs as one. They may differ in seed, loss, latent size, learning rate and KL
    settings; raises `ValueError` naming the first other setting that differs. `is_compiled` asks
    for the step of hvae/training/compiled.py, which is taken where it can be had."""
    require_packable(runs)
    started = time.perf_counter()
    pack = Training(runs, images, torch.device(device), dtype, is_compiled)
    histories: list[list[dict[str, Any]]] = [[] for _ in runs]
    for epoch in range(1, pack.train.epochs + 1):
        epoch_started = time.perf_counter()
        sums = pack.epoch(epoch).cpu() / len(images.train)
        share = (time.perf_counter() - epoch_started) / len(runs)
        for history, row in zip(histories, sums.tolist(), strict=True):
            history.append(_entry(epoch, row, share))
        progress(epoch, pack.train.epochs)
    models = [pack.model(member) for member in range(len(runs))]
    seconds = time.perf_counter() - started
    return Fit(models, histories, seconds, pack.fused is not None)


class Training:
    """K models in training: the data and random numbers they share, in groups of one optimiser."""

    def __init__(
        self,
        runs: Sequence[RunConfig],
        images: Images,
        device: torch.device,
        dtype: torch.dtype,
        is_compiled: bool,
    ) -> None:
        self.runs, self.images, self.device, self.dtype = runs, images, device, dtype
        self.train, self.sizes = runs[0].train, widest(runs)
        self.is_dynamic = runs[0].data.binarize == "dynamic"
        self.seeds = sorted({run.train.seed for run in runs})
        self.pixels = None if self.is_dynamic else torch.from_numpy(images.train).to(device)
        compiled = compiled_step(runs[0], device, dtype) if is_compiled else None
        self.fused = Fused(runs, dtype, compiled) if compiled is not None else None
        self.groups = [
            Group(runs, members, self.sizes, self.seeds, device, dtype)
            for members in ([] if self.fused else group_members(runs))
        ]
        self.step = CapturedStep(self._step, self._state()) if device.type == "cuda" else self._step

    def epoch(self, epoch: int) -> Tensor:
        """One pass over the training images: sums over images of the terms, [K, 2 + T]."""
        ramp = kl_ramp(epoch, self.train.kl_warmup_epochs)
        if self.fused is not None:
            return self.fused.epoch(partial(self.draw, epoch=epoch), ramp)
        for group in self.groups:
            group.start_epoch(ramp)
        draws = [self.draw(seed, epoch) for seed in self.seeds]
        for start in range(0, len(self.images.train), self.train.batch_size):
            rows = slice(start, start + self.train.batch_size)
            x = torch.stack([draw.batch(rows) for draw in draws])  # [U, B, D]
            noise = torch.stack([draw.noise[rows] for draw in draws])  # [U, B, S, T, L]
            self.step(x.to(self.dtype), noise.to(self.dtype))
        sums = torch.empty(len(self.runs), 2 + self.sizes.num_layers, dtype=torch.float64)
        for group in self.groups:
            sums[group.members] = group.sums.cpu()
        return sums

    def draw(self, seed: int, epoch: int) -> Draw:
        """What one seed sees in one epoch, the same for every member and every pack."""
        images, samples = len(self.images.train), self.train.importance_samples
        order = streams.order(seed, epoch, images).to(self.device)
        noise = streams.noise(
            "noise", seed, epoch, images * samples, self.sizes.num_layers, self.sizes.latent_dim
        ).reshape(images, samples, self.sizes.num_layers, -1)
        if self.pixels is not None:
            return Draw(self.pixels, self.images.train_levels, order, noise.to(self.device))
        generator = streams.stream("dynamic", seed, epoch)
        pixels = binarize(self.images.train, self.images.train_levels, generator)
        return Draw(torch.from_numpy(pixels).to(self.device), 1, order, noise.to(self.device))

    def model(self, member: int) -> HierarchicalVAE:
        """A trained member at its own size, on the CPU."""
        if self.fused is not None:
            return self.fused.members[member].model()
        group = next(group for group in self.groups if member in group.members)
        parameters = transposed(group.parameters)
        return unstack(parameters, group.members.index(member), self.runs[member])

    def _step(self, x: Tensor, noise: Tensor) -> None:
        for group in self.groups:
            group.step(x, noise)

    def _state(self) -> list[Tensor]:
        """Every tensor a step writes."""
        return [t for group in self.groups for t in (*group.optimizer.state, group.sums)]


def _entry(epoch: int, sums: list[float], seconds: float) -> dict[str, Any]:
    loss, reconstruction, *kl = sums
    return {
        "epoch": epoch,
        "loss": loss,
        "reconstruction_nats": reconstruction,
        "kl_per_level_nats": kl,
        "seconds": seconds,
    }
