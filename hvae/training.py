"""The one training loop, for 1 to K models at once. Shapes: K members, U different seeds, N images,
B batch, D pixels, S samples, T levels, L latent.

A pack is K separate trainings: the loss is summed over the members, never averaged, and Adam is
elementwise. Members of a seed share batches and noise, whoever trains beside them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from hvae import streams
from hvae.capture import CapturedStep
from hvae.config import ModelConfig, RunConfig
from hvae.data import Images, binarize
from hvae.model import HierarchicalVAE
from hvae.objectives import Settings, Terms, objective
from hvae.stacking import Parameters, build, initial, live_units, stack, unstack, widest

Gradients = Callable[..., tuple[Parameters, Tensor]]


@dataclass(frozen=True)
class Fit:
    """Trained models and their histories, both in the order of the runs."""

    models: list[HierarchicalVAE]
    histories: list[list[dict[str, Any]]]
    seconds: float


def fit(
    runs: Sequence[RunConfig],
    images: Images,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    is_compiled: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Train K runs as one. They may differ in seed, loss, latent size, learning rate and KL
    settings; raises `ValueError` naming the first other setting that differs."""
    require_packable(runs)
    started = time.perf_counter()
    pack = Pack(runs, images, torch.device(device), dtype, is_compiled)
    histories: list[list[dict[str, Any]]] = [[] for _ in runs]
    for epoch in range(1, pack.train.epochs + 1):
        epoch_started = time.perf_counter()
        sums = pack.epoch(epoch).cpu() / len(images.train)
        share = (time.perf_counter() - epoch_started) / len(runs)
        for history, row in zip(histories, sums.tolist(), strict=True):
            history.append(_entry(epoch, row, share))
        progress(epoch, pack.train.epochs)
    models = [pack.model(member) for member in range(len(runs))]
    return Fit(models, histories, time.perf_counter() - started)


def require_packable(runs: Sequence[RunConfig]) -> None:
    """Raise `ValueError` where runs differ in what one pack must share."""
    widest(runs)
    for section, names in (
        ("train", ("objective", "epochs", "batch_size", "kl_warmup_epochs", "importance_samples")),
        ("data", ("name", "binarize")),
    ):
        for name in names:
            values = {getattr(getattr(run, section), name) for run in runs}
            if len(values) != 1:
                raise ValueError(f"{name}: a pack must share one value; got {sorted(values)}")


def kl_ramp(epoch: int, warmup_epochs: int) -> float:
    """The share of the KL weight in an epoch: from 0 in the first, linear, 1 after the warm-up."""
    return min(1.0, (epoch - 1) / warmup_epochs) if warmup_epochs else 1.0


class Pack:
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
        self.groups = [
            Group(runs, members, self.sizes, self.seeds, device, dtype, is_compiled)
            for members in _equal_members(runs)
        ]
        self.step = CapturedStep(self._step, self._state()) if device.type == "cuda" else self._step

    def epoch(self, epoch: int) -> Tensor:
        """One pass over the training images: sums over images of the terms, [K, 2 + T]."""
        ramp = kl_ramp(epoch, self.train.kl_warmup_epochs)
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

    def draw(self, seed: int, epoch: int) -> "Draw":
        """What one seed sees in one epoch, the same for every member and every pack."""
        images, samples = len(self.images.train), self.train.importance_samples
        order = streams.order(seed, epoch, images).to(self.device)
        noise = streams.noise(
            "noise", seed, epoch, images * samples, self.sizes.num_layers, self.sizes.latent_dim
        ).unflatten(0, (images, samples))
        if self.pixels is not None:
            return Draw(self.pixels, self.images.train_levels, order, noise.to(self.device))
        generator = streams.stream("dynamic", seed, epoch)
        pixels = binarize(self.images.train, self.images.train_levels, generator)
        return Draw(
            torch.from_numpy(pixels).to(self.device), 1, order, noise.to(self.device)
        )

    def model(self, member: int) -> HierarchicalVAE:
        """A trained member at its own size, on the CPU."""
        group = next(group for group in self.groups if member in group.members)
        return unstack(group.parameters, group.members.index(member), self.runs[member])

    def _step(self, x: Tensor, noise: Tensor) -> None:
        for group in self.groups:
            group.step(x, noise)

    def _state(self) -> list[Tensor]:
        """Every tensor a step writes; Adam's moments, which it makes in its first step, included.

        A step with zero gradients moves no parameter, so that the state exists before training.
        """
        for group in self.groups:
            for parameter in group.parameters.values():
                parameter.grad = torch.zeros_like(parameter)
            group.optimizer.step()
        adam = [
            tensor
            for group in self.groups
            for state in group.optimizer.state.values()
            for tensor in state.values()
        ]
        for tensor in adam:
            tensor.zero_()
        parameters = [p for group in self.groups for p in group.parameters.values()]
        return [*adam, *parameters, *(group.sums for group in self.groups)]


@dataclass(frozen=True)
class Draw:
    """Images in the order of an epoch, and the noise of each position."""

    pixels: Tensor  # [N, D] uint8
    levels: int
    order: Tensor  # [N]
    noise: Tensor  # [N, S, T, L]

    def batch(self, rows: slice) -> Tensor:
        """Pixels in [0, 1] of a slice of the epoch: [B, D]."""
        return self.pixels[self.order[rows]].float() / self.levels


class Group:
    """Members of one loss and one learning rate: one set of stacked parameters, one Adam."""

    def __init__(
        self,
        runs: Sequence[RunConfig],
        members: list[int],
        sizes: ModelConfig,
        seeds: list[int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        is_compiled: bool = False,
    ) -> None:
        own = [runs[member] for member in members]
        self.members, self.train, self.is_compiled = members, own[0].train, is_compiled
        self.template = build(sizes, self.train.loss).to(device)
        parameters = stack([initial(run) for run in own], sizes)
        self.parameters = {name: p.to(device, dtype) for name, p in parameters.items()}
        rows = [seeds.index(run.train.seed) for run in own]
        self.seed_rows = torch.tensor(rows, device=device)
        self.is_shared = len(seeds) == 1
        weight = torch.tensor([run.train.kl_weight for run in own], dtype=dtype, device=device)
        floor = [run.train.free_bits or -torch.inf for run in own]
        self.full_weight = weight
        self.settings = Settings(
            weight.clone(),
            torch.tensor(floor, dtype=dtype, device=device),
            live_units(own, sizes.latent_dim).to(device, dtype),
        )
        self.sums = torch.zeros(
            len(own), 2 + sizes.num_layers, dtype=torch.float64, device=device
        )
        self.gradients: dict[int, Gradients] = {}  # by batch size: the last batch may be short
        self.optimizer = torch.optim.Adam(
            list(self.parameters.values()),
            lr=self.train.learning_rate,
            fused=True,
            capturable=device.type == "cuda",
        )

    def start_epoch(self, ramp: float) -> None:
        self.sums.zero_()
        self.settings.kl_weight.copy_(self.full_weight * ramp)

    @torch.no_grad()
    def step(self, x: Tensor, noise: Tensor) -> None:
        """One Adam step of every member: x [U, B, D], noise [U, B, S, T, L]."""
        x, noise = self._rows(x), self._rows(noise)
        images = x.shape[-2]
        if images not in self.gradients:
            self.gradients[images] = self._gradients(x, noise)
        gradients, terms = self.gradients[images](self.parameters, self.settings, x, noise)
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self.optimizer.step()
        self.sums.add_(terms, alpha=images)

    def _rows(self, values: Tensor) -> Tensor:
        """What every member sees: one tensor for all where they share a seed, else [K, ...]."""
        return values[0] if self.is_shared else values.index_select(0, self.seed_rows)

    def _gradients(self, x: Tensor, noise: Tensor) -> Gradients:
        """The pure gradient step of the group, fixed to the shapes of x and noise.

        Tracing once to plain operators spares the interpreter of `vmap` and `grad` in every step
        and changes no bit of the result; compiling fuses the elementwise operators as well.
        """
        data = None if self.is_shared else 0
        mapped = vmap(grad_and_value(self._loss, has_aux=True), in_dims=(0, 0, data, data))

        def gradients(*arguments: Any) -> tuple[Parameters, Tensor]:
            derivative, (_, terms) = mapped(*arguments)
            return derivative, terms

        if self.is_compiled:
            return torch.compile(gradients, dynamic=False)
        traced: Gradients = make_fx(gradients)(self.parameters, self.settings, x, noise)
        return traced

    def _loss(
        self, parameters: Parameters, settings: Settings, x: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One member: the batch mean of its objective, and its terms [2 + T]."""
        noise = noise.squeeze(1) if self.train.objective != "iwae" else noise.transpose(0, 1)
        result = functional_call(self.template, parameters, (x, noise * settings.live))
        terms: Terms = objective(self.train.objective, self.train.loss, result, x, settings)
        flat = torch.cat([terms.loss[None], terms.reconstruction[None], terms.kl]).detach()
        return terms.loss, flat


def _equal_members(runs: Sequence[RunConfig]) -> list[list[int]]:
    """Members that can share one optimiser and one loss function, in a fixed order."""
    groups: dict[tuple[str, float], list[int]] = {}
    for member, run in enumerate(runs):
        groups.setdefault((run.train.loss, run.train.learning_rate), []).append(member)
    return [groups[key] for key in sorted(groups)]


def _entry(epoch: int, sums: list[float], seconds: float) -> dict[str, Any]:
    loss, reconstruction, *kl = sums
    return {
        "epoch": epoch,
        "loss": loss,
        "reconstruction_nats": reconstruction,
        "kl_per_level_nats": kl,
        "seconds": seconds,
    }
