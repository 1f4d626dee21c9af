"""The engine for one sample an image on a CPU: the members of a pack take the step of `step.c` one
after the other.

A member's numbers do not depend on who trains beside it, not even in their last bit: it shares the
batches alone, which are laid out once for all members of a seed.
Shapes: K members, T levels.
"""

import ctypes
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from hvae.closed_form import parameter_count
from hvae.config import RunConfig
from hvae.model.hierarchy import HierarchicalVAE, build, initial
from hvae.model.networks import Decoder, Encoder
from hvae.native.bindings import Batch, Model, constant, uncompiled
from hvae.native.build import c_compiler, library
from hvae.training.adam import BETAS, EPSILON
from hvae.training.draws import Draw, Draws
from hvae.training.stacking import widest

CHUNK = 8  # batches laid out at once, 2 MB of MNIST: a member's state stays in the caches meanwhile
DTYPES = (torch.float32, torch.float64)


class Compiled:
    """K members and the room for the batches they share; there must be no `obstacle` to them."""

    name = "compiled"

    def __init__(
        self,
        runs: Sequence[RunConfig],
        dtype: torch.dtype,
        pixel_means: Tensor | None = None,
    ) -> None:
        step = _library(dtype)
        assert step is not None
        levels = widest(runs).num_layers
        slack = constant(step, "slack")
        self.members = [Member(run, dtype, slack, levels, pixel_means) for run in runs]
        self.library, self.dtype, self.size = step, dtype, runs[0].train.batch_size
        pairs = (runs[0].model.input_dim + 1) // 2
        lanes = step.padded_images(self.size)
        self.batches = (Batch * CHUNK)()
        self.x = torch.zeros(CHUNK, 2 * pairs * lanes, dtype=dtype)
        self.start = torch.zeros(CHUNK, pairs + 1, dtype=torch.int32)
        self.lit = torch.zeros(CHUNK, pairs * lanes + 1, dtype=torch.int16)
        self.bytes = torch.zeros(2 * pairs * lanes, dtype=torch.uint8)
        models = [ctypes.byref(member.described(1, 1.0)) for member in self.members]
        most = max(step.work_size(model, self.size) for model in models)
        self.work = torch.zeros(most, dtype=dtype)

    def epoch(self, draws: Draws, epoch: int, ramp: float) -> Tensor:
        """One pass over the images: sums over images of the terms, [K, 2 + T]."""
        for member in self.members:
            member.sums.zero_()
        for seed in sorted({member.run.train.seed for member in self.members}):
            own = [member for member in self.members if member.run.train.seed == seed]
            models = [member.described(epoch, ramp) for member in own]
            self._epoch(own, models, draws.draw(seed, epoch))
        return torch.stack([member.sums for member in self.members])

    def model(self, member: int) -> HierarchicalVAE:
        """A member as it stands."""
        return self.members[member].model()

    def _epoch(self, members: Sequence["Member"], models: Sequence[Model], drawn: Draw) -> None:
        """One seed's."""
        pixels, noise = drawn.pixels.contiguous(), drawn.noise.to(self.dtype).contiguous()
        for first in range(0, len(drawn.order), CHUNK * self.size):
            order = drawn.order[first : first + CHUNK * self.size]
            count = -(-len(order) // self.size)
            self.library.prepare_all(
                *(self.batches, count, self.size, pixels.data_ptr(), order.data_ptr(), len(order)),
                *(pixels.shape[1], drawn.levels, noise[first].data_ptr()),
                *(noise.stride(0), noise.stride(-2)),
                *(room.data_ptr() for room in (self.x, self.start, self.lit, self.bytes)),
            )
            for member, model in zip(members, models, strict=True):
                self.library.steps(
                    *(ctypes.byref(model), self.batches, count, member.steps + 1),
                    *(self.work.data_ptr(), member.sums.data_ptr()),
                )
                member.steps += count


def obstacle(run: RunConfig, device: torch.device, dtype: torch.dtype) -> str:
    """Why `Compiled` cannot train the run; empty where it can."""
    if device.type != "cpu":
        return f"device {device.type}"
    if dtype not in DTYPES:
        return str(dtype)
    if declined := uncompiled(run):
        return declined
    step = _library(dtype)
    if step is None:
        return "step.c cannot be compiled or loaded" if c_compiler() else "no C compiler"
    if run.model.num_layers > (most := constant(step, "most_levels")):
        return f"more than {most} levels"
    if run.train.batch_size > (most := constant(step, "most_images")):
        return f"more than {most} images in a batch"
    return ""


def _library(dtype: torch.dtype) -> ctypes.CDLL | None:
    return library(is_double=dtype == torch.float64)


class Member:
    """One model in training: its parameters and Adam's moments, as step.c has them."""

    def __init__(
        self,
        run: RunConfig,
        dtype: torch.dtype,
        slack: int,
        levels: int,
        pixel_means: Tensor | None = None,
    ) -> None:
        self.run, self.steps = run, 0
        self.numbers = torch.zeros(3, parameter_count(run.model) + slack, dtype=dtype)
        self.sums = torch.zeros(2 + levels, dtype=torch.float64)  # of the deepest member
        with torch.no_grad():
            for parameter, place in places(initial(run, pixel_means), self.numbers[0]):
                place.copy_(parameter)

    def model(self) -> HierarchicalVAE:
        """The model as it stands."""
        found = build(self.run.model, self.run.train.loss).to(self.numbers.dtype)
        with torch.no_grad():
            for parameter, place in places(found, self.numbers[0]):
                parameter.copy_(place)
        return found

    def described(self, epoch: int, ramp: float) -> Model:
        """The member for step.c in an epoch, its KL weight at `ramp` of what it is in the end."""
        sizes, train = self.run.model, self.run.train
        floor = train.free_bits or -torch.inf
        return Model(
            *(sizes.input_dim, sizes.hidden_dim, sizes.latent_dim, sizes.num_layers),
            *(train.loss == "bce", train.objective == "elbo"),
            *(train.rate(epoch), *BETAS, EPSILON, train.kl_weight * ramp, floor),
            *(row.data_ptr() for row in self.numbers),
        )


def places(model: HierarchicalVAE, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Every parameter of the model with its place in the flat numbers, as views of one shape."""
    last = model.pixel_decoder.linear_2
    for layers in _layers(model):
        inputs, outputs = layers[0].in_features, [layer.out_features for layer in layers]
        size, width = inputs * sum(outputs), sum(outputs)
        flat, bias, numbers = numbers[:size], numbers[size : size + width], numbers[size + width :]
        weight = flat.view(width, inputs).mT if layers == (last,) else flat.view(inputs, width)
        weights, biases = torch.split(weight, outputs, dim=1), torch.split(bias, outputs)
        for layer, own_weight, own_bias in zip(layers, weights, biases, strict=True):
            yield layer.weight.mT, own_weight
            yield layer.bias, own_bias


def _layers(model: HierarchicalVAE) -> Iterator[tuple[nn.Linear, ...]]:
    """In the order of step.c; those that are one product there together."""
    for encoder, decoder in zip(model.encoders, model.decoders, strict=True):
        assert isinstance(encoder, Encoder)
        assert isinstance(decoder, Decoder)
        yield (encoder.linear,)
        yield encoder.linear_mu, encoder.linear_logvar
        yield (decoder.linear_1,)
        yield (decoder.linear_2,)
