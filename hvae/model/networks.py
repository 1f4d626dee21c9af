"""The maps between levels. Shapes: B batch, H hidden, L latent.

Attribute names are part of the contract: a documented `state_dict` loads, and the other way round.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hvae.model.gaussians import Gaussian, Prior, UnitGaussian


class Activation(NamedTuple):
    """What a hidden unit makes of its input, and its derivative there."""

    apply: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _slope_of_relu(before: Tensor) -> Tensor:
    return before > 0


def _slope_of_tanh(before: Tensor) -> Tensor:
    return 1 - before.tanh().square()


ACTIVATIONS = {  # by name: what is pickled has one
    "relu": Activation(torch.relu, _slope_of_relu),
    "tanh": Activation(torch.tanh, _slope_of_tanh),
}


class Kind(NamedTuple):
    """What the hidden layers of a map are."""

    hidden_layers: int = 1
    activation: str = "relu"

    def deeper(self, hidden_dim: int) -> nn.ModuleList:
        """The layers after the first."""
        return nn.ModuleList(
            nn.Linear(hidden_dim, hidden_dim) for _ in range(self.hidden_layers - 1)
        )


DOCUMENTED = Kind()


def hidden_units(activation: Activation, layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The last hidden units: [B, in_dim] -> [B, hidden_dim]."""
    for layer in layers:
        x = activation.apply(layer(x))
    return x


class Encoder(nn.Module):
    """[B, in_dim] -> mu and sigma of q, each [B, latent_dim]."""

    def __init__(
        self, in_dim: int, hidden_dim: int, latent_dim: int, kind: Kind = DOCUMENTED
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, hidden_dim)
        self.deeper = kind.deeper(hidden_dim)
        self.linear_mu = nn.Linear(hidden_dim, latent_dim)
        self.linear_logvar = nn.Linear(hidden_dim, latent_dim)
        self.activation = ACTIVATIONS[kind.activation]

    def posterior(self, x: Tensor) -> Gaussian:
        """The same Gaussian with its log-variance, which the KL needs: no log(exp(·))."""
        h = hidden_units(self.activation, (self.linear, *self.deeper), x)
        return Gaussian(self.linear_mu(h), self.linear_logvar(h))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.posterior(x)
        return mu, torch.exp(logvar / 2)


class Decoder(nn.Module):
    """[B, latent_dim] -> [B, out_dim], through a sigmoid if `use_sigmoid`: the mean of what lies
    below, whose variance is one."""

    def __init__(
        self,
        latent_dim: int,
        hidden_dim: int,
        out_dim: int,
        use_sigmoid: bool = False,
        kind: Kind = DOCUMENTED,
    ) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(latent_dim, hidden_dim)
        self.deeper = kind.deeper(hidden_dim)
        self.linear_2 = nn.Linear(hidden_dim, out_dim)
        self.use_sigmoid = use_sigmoid
        self.activation = ACTIVATIONS[kind.activation]

    def logits(self, z: Tensor) -> Tensor:
        """The output before any sigmoid."""
        return self.output(self.hidden(z))

    def hidden(self, z: Tensor) -> Tensor:
        """The last hidden units: [B, latent_dim] -> [B, hidden_dim]."""
        return hidden_units(self.activation, (self.linear_1, *self.deeper), z)

    def output(self, h: Tensor) -> Tensor:
        """From the hidden units to the logits: [B, hidden_dim] -> [B, out_dim]."""
        out: Tensor = self.linear_2(h)
        return out

    def prior(self, z: Tensor) -> Prior:
        """p of the level below: [B, latent_dim] -> [B, out_dim]."""
        return UnitGaussian(self.logits(z))

    def linearised_hidden(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden units, and their derivative by z, transposed: [B, latent_dim] ->
        [B, hidden_dim] and [B, latent_dim, hidden_dim]."""
        before: Tensor = self.linear_1(z)
        slopes = self.activation.slope(before).unsqueeze(1) * self.linear_1.weight.mT
        for layer in self.deeper:
            assert isinstance(layer, nn.Linear)
            before = layer(self.activation.apply(before))
            slopes = self.activation.slope(before).unsqueeze(1) * (slopes @ layer.weight.mT)
        return self.activation.apply(before), slopes

    def linearised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The output before any sigmoid, and its derivative by z, transposed: [B, latent_dim] ->
        [B, out_dim] and [B, latent_dim, out_dim]. With ReLU the map is linear around every z."""
        h, slopes = self.linearised_hidden(z)
        return self.output(h), slopes @ self.linear_2.weight.mT

    def forward(self, z: Tensor) -> Tensor:
        out = self.logits(z)
        return out.sigmoid() if self.use_sigmoid else out


class GaussianDecoder(Decoder):
    """A decoder to latents that says their log-variance, too."""

    def __init__(
        self, latent_dim: int, hidden_dim: int, out_dim: int, kind: Kind = DOCUMENTED
    ) -> None:
        super().__init__(latent_dim, hidden_dim, out_dim, kind=kind)
        self.linear_logvar = nn.Linear(hidden_dim, out_dim)

    def prior(self, z: Tensor) -> Prior:
        h = self.hidden(z)
        return Gaussian(self.output(h), self.linear_logvar(h))
