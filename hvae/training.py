"""The one training loop, for 1 to K models at once. Shapes: K members, U different seeds, N images,
B batch, D pixels, S samples, T levels, L latent.

A pack is K separate trainings: the loss is summed over the members, never averaged, and Adam is
elementwise. Members of a seed share batches and noise, whoever trains beside them. On a CPU with a
C compiler the step is that of `hvae/fused.py`; the one here is its reference, and runs elsewhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from hvae import streams
from hvae.adam import Adam
from hvae.capture import CapturedStep
from hvae.config import ModelConfig, RunConfig
from hvae.data import Images, binarize
from hvae.fused import Fused, compiled_step
from hvae.model import HierarchicalVAE
from hvae.objectives import Pass, Settings, objective
from hvae.stacking import Parameters, build, initial, live_units, stack, unstack, widest

Gradients = Callable[..., tuple[Parameters, Tensor]]


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
    for the step of hvae/fused.py, which is taken where it can be had."""
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
            for members in ([] if self.fused else _members(runs))
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

    def draw(self, seed: int, epoch: int) -> "Draw":
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
    """Members of one learning rate: one set of stacked parameters, one Adam.

    Members are kept sorted by loss, so that each loss is computed on one contiguous part.
    """

    def __init__(
        self,
        runs: Sequence[RunConfig],
        members: list[int],
        sizes: ModelConfig,
        seeds: list[int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        own = [runs[member] for member in members]
        self.members, self.train = members, own[0].train
        self.losses = Counter(run.train.loss for run in own)  # in the order of the members
        self.template = build(sizes, self.train.loss).to(device)
        parameters = stack([initial(run) for run in own], sizes)
        self.parameters = {
            name: p.to(device, dtype).contiguous() for name, p in transposed(parameters).items()
        }
        self.seed_rows = torch.tensor([seeds.index(run.train.seed) for run in own], device=device)
        self.is_shared = len(seeds) == 1
        floor = [run.train.free_bits or -torch.inf for run in own]
        self.settings = Settings(
            torch.tensor([run.train.kl_weight for run in own], dtype=dtype, device=device),
            torch.tensor(floor, dtype=dtype, device=device),
            live_units(own, sizes.latent_dim).to(device, dtype),
        )
        self.full_weight = self.settings.kl_weight.clone()
        shape = (len(own), 2 + sizes.num_layers)
        self.sums = torch.zeros(shape, dtype=torch.float64, device=device)
        self.gradients: dict[int, Gradients] = {}  # by batch size: the last batch may be short
        self.optimizer = Adam(list(self.parameters.values()), self.train.learning_rate)

    def start_epoch(self, ramp: float) -> None:
        """Forget the sums of the last epoch; set the KL weight of this one."""
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
        self.optimizer.step(list(gradients.values()))
        self.sums.add_(terms, alpha=images)

    def _rows(self, values: Tensor) -> Tensor:
        """What every member sees: one tensor for all where they share a seed, else [K, ...]."""
        return values[0] if self.is_shared else values.index_select(0, self.seed_rows)

    def _gradients(self, x: Tensor, noise: Tensor) -> Gradients:
        """The pure gradient function of the group, fixed to the shapes of x and noise.

        Tracing once to plain operators spares the interpreter of `vmap` and `grad` in every step
        and changes no bit of the result.
        """

        def gradients(*arguments: Any) -> tuple[Parameters, Tensor]:
            found, terms = grad(self._total_loss, has_aux=True)(*arguments)
            return {name: gradient.contiguous() for name, gradient in found.items()}, terms

        traced: Gradients = make_fx(gradients)(self.parameters, self.settings, x, noise)
        return traced

    def _total_loss(
        self, parameters: Parameters, settings: Settings, x: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sum over the members of their batch means, and the terms of each: scalar, [K, 2 + T]."""
        data = None if self.is_shared else 0
        result = vmap(self._pass, in_dims=(0, 0, data, data))(parameters, settings.live, x, noise)
        own_x = x.expand(len(settings.live), *x.shape[-2:])
        parts = zip(self.losses, self._split(result), self._split((own_x, settings)), strict=True)
        terms = [
            vmap(partial(objective, self.train.objective, loss))(part, *own)
            for loss, part, own in parts
        ]
        rows = [torch.cat([t.loss[:, None], t.reconstruction[:, None], t.kl], 1) for t in terms]
        return torch.cat([t.loss for t in terms]).sum(), torch.cat(rows).detach()

    def _pass(self, parameters: Parameters, live: Tensor, x: Tensor, noise: Tensor) -> Pass:
        """One member: noise [B, S, T, L], its padding silenced."""
        noise = noise.squeeze(1) if self.train.objective != "iwae" else noise.transpose(0, 1)
        own = transposed(parameters)
        result: Pass = functional_call(self.template, own, (x, noise * live))
        return result

    def _split(self, values: Any) -> list[Any]:
        """Stacked tensors in contiguous parts, one a loss."""
        leaves, structure = tree_flatten(values)
        sizes = list(self.losses.values())
        parts = zip(*(leaf.split(sizes) for leaf in leaves), strict=True)
        return [tree_unflatten(part, structure) for part in parts]


def transposed(parameters: Parameters) -> Parameters:
    """Weights [..., out, in] as [..., in, out] and back; biases as they are.

    The engine keeps weights as [K, in, out]: so their gradients x'g come out contiguous.
    """
    return {name: p.mT if name.endswith("weight") else p for name, p in parameters.items()}


def _members(runs: Sequence[RunConfig]) -> list[list[int]]:
    """Members that can share an optimiser, those of a loss side by side, in a fixed order."""
    groups: dict[float, list[int]] = {}
    for member in sorted(range(len(runs)), key=lambda member: runs[member].train.loss):
        groups.setdefault(runs[member].train.learning_rate, []).append(member)
    return [groups[rate] for rate in sorted(groups)]


def _entry(epoch: int, sums: list[float], seconds: float) -> dict[str, Any]:
    loss, reconstruction, *kl = sums
    return {
        "epoch": epoch,
        "loss": loss,
        "reconstruction_nats": reconstruction,
        "kl_per_level_nats": kl,
        "seconds": seconds,
    }
