"""The engine for any device and any objective: K stacked models, `vmap` over the one model
definition. Shapes: K members, U different seeds, B batch, D pixels, S samples, T levels, L latent.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from hvae.config import ModelConfig, RunConfig
from hvae.model.hierarchy import HierarchicalVAE, build, initial
from hvae.model.objectives import AnyPass, Settings, objective
from hvae.training.adam import Adam
from hvae.training.cuda_graph import CapturedStep, side_by_side, streams
from hvae.training.draws import Draw, Draws
from hvae.training.stacking import Parameters, live_units, stack, unstack, widest

Gradients = Callable[..., tuple[Parameters, Tensor]]


class Traced:
    """K models in groups of one optimiser; on cuda a step of all groups is one graph, which gathers
    its batch too."""

    name = "traced"

    def __init__(
        self,
        runs: Sequence[RunConfig],
        device: torch.device,
        dtype: torch.dtype,
        pixel_means: Tensor | None = None,
    ) -> None:
        self.runs, self.device, self.dtype, self.sizes = runs, device, dtype, widest(runs)
        self.seeds = sorted({run.train.seed for run in runs})
        self.groups = [
            Group(
                *(runs, members, widest([runs[m] for m in members]), self.seeds),
                *(device, dtype, pixel_means),
            )
            for members in group_members(runs)
        ]
        self.pixels = self.noise = torch.empty(0, 0)  # [U, N, D] uint8 and [U, N, S, T, L]
        self.grey_levels = 1
        self.streams = streams(len(self.groups)) if device.type == "cuda" else []
        self.step = CapturedStep(self._step, self._state()) if device.type == "cuda" else self._step

    def epoch(self, draws: Draws, epoch: int, ramp: float) -> Tensor:
        """One pass over the images: sums over images of the terms, [K, 2 + T]."""
        rates = [group.start_epoch(epoch, ramp) for group in self.groups]
        if any(rates) and isinstance(self.step, CapturedStep):
            self.step.graphs.clear()  # the rate is part of them
        for row, draw in enumerate(draws.all(self.seeds, epoch)):
            self._lay_out(row, draw)
        rows = torch.arange(len(draws.images.train), device=self.device)
        for batch in torch.split(rows, self.runs[0].train.batch_size):
            self.step(batch)
        sums = torch.zeros(len(self.runs), 2 + self.sizes.num_layers, dtype=torch.float64)
        for group in self.groups:
            sums[group.members, : group.sums.shape[1]] = group.sums.cpu()
        return sums

    def model(self, member: int) -> HierarchicalVAE:
        """A member as it stands, at its own size, on the CPU."""
        group = next(group for group in self.groups if member in group.members)
        parameters = transposed(group.parameters)
        return unstack(parameters, group.members.index(member), self.runs[member])

    def _lay_out(self, row: int, draw: Draw) -> None:
        """A seed's images and noise in the order of the epoch, where the steps look for them: at
        the same addresses in every epoch, as a captured step needs."""
        images, seeds = len(draw.order), len(self.seeds)
        if images > self.pixels.shape[1]:
            empty = partial(torch.empty, device=self.device)
            self.pixels = empty(seeds, images, draw.pixels.shape[1], dtype=torch.uint8)
            self.noise = empty(seeds, *draw.noise.shape)
            if isinstance(self.step, CapturedStep):
                self.step.graphs.clear()  # they look where there is nothing any more
        order, self.grey_levels = draw.order.to(self.device), draw.levels
        pixels = draw.pixels.to(self.device)
        torch.index_select(pixels, 0, order, out=self.pixels[row, :images])
        self.noise[row, :images].copy_(draw.noise)

    def _step(self, rows: Tensor) -> None:
        """One step of every member on some images [B] of the epoch."""
        x = self.pixels.index_select(1, rows).to(self.dtype) / self.grey_levels  # [U, B, D]
        noise = self.noise.index_select(1, rows).to(self.dtype)  # [U, B, S, T, L]
        steps = [partial(group.step, x, group.own_noise(noise)) for group in self.groups]
        if self.device.type == "cuda":
            side_by_side(steps, self.streams)
        else:
            for step in steps:
                step()

    def _state(self) -> list[Tensor]:
        """Every tensor a step writes."""
        return [tensor for group in self.groups for tensor in group.state]


class Group:
    """Members of one learning rate and of the same parameters: one set of them, stacked, one Adam.

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
        pixel_means: Tensor | None = None,
    ) -> None:
        own = [runs[member] for member in members]
        self.members, self.sizes, self.train = members, sizes, own[0].train
        self.losses = Counter(run.train.loss for run in own)  # in the order of the members
        self.template = build(sizes, self.train.loss).to(device)
        parameters = stack([initial(run, pixel_means) for run in own], sizes)
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

    @property
    def state(self) -> list[Tensor]:
        """Every tensor that a step writes."""
        return [*self.optimizer.state, self.sums]

    def start_epoch(self, epoch: int, ramp: float) -> bool:
        """Forget the sums of the last epoch; set the KL weight and the learning rate of this one,
        and whether the rate is another."""
        self.sums.zero_()
        self.settings.kl_weight.copy_(self.full_weight * ramp)
        before, self.optimizer.learning_rate = self.optimizer.learning_rate, self.train.rate(epoch)
        return self.optimizer.learning_rate != before

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

    def own_noise(self, noise: Tensor) -> Tensor:
        """The leading levels and units of a pack's noise, as many as the group has."""
        return noise[..., : self.sizes.num_layers, : self.sizes.latent_dim]

    def _rows(self, values: Tensor) -> Tensor:
        """What every member sees: one tensor for all where they share a seed, else [K, ...]."""
        return values[0] if self.is_shared else values.index_select(0, self.seed_rows)

    def _gradients(self, x: Tensor, noise: Tensor) -> Gradients:
        """The pure gradient function of the group, fixed to the shapes of x and noise.

        Tracing once to plain operators spares the interpreter of `vmap` and `grad` in every step
        and changes no bit of the result. A GPU's graph has no interpreter in it.
        """

        def gradients(*arguments: Any) -> tuple[Parameters, Tensor]:
            found, terms = grad(self._total_loss, has_aux=True)(*arguments)
            return {name: gradient.contiguous() for name, gradient in found.items()}, terms

        if x.device.type == "cuda":
            return gradients
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

    def _pass(self, parameters: Parameters, live: Tensor, x: Tensor, noise: Tensor) -> AnyPass:
        """One member: noise [B, S, T, L], its padding silenced."""
        noise = noise.squeeze(1) if self.train.objective != "iwae" else noise.transpose(0, 1)
        own = transposed(parameters)
        result: AnyPass = functional_call(self.template, own, (x, noise * live))
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


def group_members(runs: Sequence[RunConfig]) -> list[list[int]]:
    """Members that can share an optimiser, those of a loss side by side, in a fixed order."""
    groups: dict[tuple[float, int, bool], list[int]] = {}
    for member in sorted(range(len(runs)), key=lambda member: runs[member].train.loss):
        run = runs[member]
        has_variance = run.train.loss == "gaussian"  # a parameter more
        key = (run.train.learning_rate, run.model.num_layers, has_variance)
        groups.setdefault(key, []).append(member)
    return [groups[key] for key in sorted(groups)]
