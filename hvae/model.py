"""The documented hierarchical VAE. Shapes: B batch, D pixels, H hidden, L latent, T levels.

z_0 = x; q(z_t | z_{t-1}) = N(mu_t, diag sigma_t²) from the bottom up; p(z_T) = N(0, I);
p(z_t | z_{t+1}) = N(decoder_{t+1}(z_{t+1}), I) from the top down; pixels = sigmoid(decoder_1(z_1)).
Attribute names are part of the contract: a documented `state_dict` loads, and the other way round.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hvae.config import ModelConfig, RunConfig
from hvae.objectives import Level, Pass, documented_loss
from hvae.streams import stream


class Gaussian(NamedTuple):
    """Mean and log-variance of a diagonal Gaussian: [B, L] each."""

    mu: Tensor
    logvar: Tensor


class Encoder(nn.Module):
    """[B, in_dim] -> mu and sigma of q, each [B, latent_dim]."""

    def __init__(self, in_dim: int, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, hidden_dim)
        self.linear_mu = nn.Linear(hidden_dim, latent_dim)
        self.linear_logvar = nn.Linear(hidden_dim, latent_dim)

    def posterior(self, x: Tensor) -> Gaussian:
        """The same Gaussian with its log-variance, which the KL needs: no log(exp(·))."""
        h = self.linear(x).relu()
        return Gaussian(self.linear_mu(h), self.linear_logvar(h))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.posterior(x)
        return mu, torch.exp(logvar / 2)


class Decoder(nn.Module):
    """[B, latent_dim] -> [B, out_dim], through a sigmoid if `use_sigmoid`."""

    def __init__(
        self, latent_dim: int, hidden_dim: int, out_dim: int, use_sigmoid: bool = False
    ) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(latent_dim, hidden_dim)
        self.linear_2 = nn.Linear(hidden_dim, out_dim)
        self.use_sigmoid = use_sigmoid

    def logits(self, z: Tensor) -> Tensor:
        """The output before any sigmoid."""
        return self.output(self.hidden(z))

    def hidden(self, z: Tensor) -> Tensor:
        """The hidden units: [B, latent_dim] -> [B, hidden_dim]."""
        h: Tensor = self.linear_1(z)
        return h.relu()

    def output(self, h: Tensor) -> Tensor:
        """From the hidden units to the logits: [B, hidden_dim] -> [B, out_dim]."""
        out: Tensor = self.linear_2(h)
        return out

    def linearised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The output before any sigmoid, and its derivative by z, transposed: [B, latent_dim] ->
        [B, out_dim] and [B, latent_dim, out_dim]. The map is linear around every z."""
        before: Tensor = self.linear_1(z)
        slopes = (before > 0).unsqueeze(1) * self.linear_1.weight.mT  # [B, latent_dim, hidden_dim]
        return self.output(before.relu()), slopes @ self.linear_2.weight.mT

    def forward(self, z: Tensor) -> Tensor:
        out = self.logits(z)
        return out.sigmoid() if self.use_sigmoid else out


def reparameterize(mu: Tensor, sigma: Tensor) -> Tensor:
    """A draw from N(mu, diag sigma²) with noise of the global generator, as documented."""
    return mu + torch.randn_like(sigma) * sigma


class HierarchicalVAE(nn.Module):
    """T encoders bottom-up, T decoders top-down. Raises `ValueError` where a size is not ≥ 1."""

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        latent_dim: int,
        num_layers: int = 2,
        use_bce: bool = True,
    ) -> None:
        super().__init__()
        self.config = ModelConfig(input_dim, hidden_dim, latent_dim, num_layers)
        self.use_bce = use_bce
        widths = [input_dim] + [latent_dim] * (num_layers - 1)
        self.encoders = nn.ModuleList(Encoder(width, hidden_dim, latent_dim) for width in widths)
        self.decoders = nn.ModuleList(
            Decoder(latent_dim, hidden_dim, width, use_sigmoid=level == 0)
            for level, width in enumerate(widths)
        )

    @property
    def loss(self) -> str:
        """The likelihood: "bce" Bernoulli, "mse" Gaussian of unit variance."""
        return "bce" if self.use_bce else "mse"

    def forward(self, x: Tensor, noise: Tensor) -> Pass:
        """A joint sample through the hierarchy: x [B, D] in [0, 1], noise [B, T, L], or S of them
        with noise [S, B, T, L]; everything returned has the leading dimensions of the noise."""
        return self.sample(self.posterior(0, x), noise)

    def sample(self, first: Gaussian, noise: Tensor) -> Pass:
        """The same from the first level's posterior, which does not depend on the noise."""
        levels = self.infer(first, noise)
        return Pass(levels, self.prior_means(levels), self.decode(0, levels[0].z))

    def infer(self, first: Gaussian, noise: Tensor) -> list[Level]:
        """The encoders' part of it: the posterior of every level, and a draw from it."""
        mu, logvar = first
        levels: list[Level] = []
        for t, eps in enumerate(noise.unbind(-2)):
            if t > 0:
                mu, logvar = self.posterior(t, levels[-1].z)
            z = mu + eps * torch.exp(logvar / 2)  # [..., B, L]
            levels.append(Level(mu.expand_as(z), logvar.expand_as(z), z))
        return levels

    def prior_means(self, levels: list[Level]) -> list[Tensor]:
        """The mean of p(z_t | z_{t+1}) at the drawn z_{t+1}, for every level; 0 at the top."""
        lower = [self.decode(t, level.z) for t, level in enumerate(levels) if t > 0]
        return [*lower, torch.zeros_like(levels[-1].mu)]

    def posterior(self, level: int, z: Tensor) -> Gaussian:
        """q of a level, counted from 0, given what lies below it: z_0 = x."""
        encoder = self.encoders[level]
        assert isinstance(encoder, Encoder)
        return encoder.posterior(z)

    def decode(self, level: int, z: Tensor) -> Tensor:
        """Down from a level, counted from 0: pixel logits, or the mean of the level below."""
        decoder = self.decoders[level]
        assert isinstance(decoder, Decoder)
        return decoder.logits(z)

    @property
    def pixel_decoder(self) -> Decoder:
        """The decoder from z_1 to pixels."""
        decoder = self.decoders[0]
        assert isinstance(decoder, Decoder)
        return decoder

    def get_loss(self, x: Tensor) -> Tensor:
        """The documented loss R + 2 Σ_t K_t, averaged over the batch: [B, D] -> scalar, in nats.

        Noise comes from the global generator, one draw a level, first level first. The Bernoulli
        term is computed from logits: equal to `F.binary_cross_entropy` of the sigmoid, except where
        float32 rounds a dark pixel's sigmoid to 1 (logit above 16.6; from 10 on it loses digits) or
        a lit one's to 0 (below -103): the latter clamps log(0) at -100 and gives 100 whatever the
        logit; here the value stays |logit| and keeps its gradient.

        Raises `ValueError` where x has the wrong width or values outside [0, 1] or NaN.
        """
        self._require_images(x)
        sizes = (len(x), self.config.latent_dim)
        drawn = [
            torch.randn(sizes, dtype=x.dtype, device=x.device)
            for _ in range(self.config.num_layers)
        ]
        result = self(x, torch.stack(drawn, dim=1))
        return documented_loss(result, x, self.loss).mean()

    def _require_images(self, x: Tensor) -> None:
        width = self.config.input_dim
        if x.ndim != 2 or x.shape[1] != width or len(x) == 0:
            raise ValueError(
                f"x: shape {tuple(x.shape)} is not allowed; allowed: [B, {width}] with B ≥ 1"
            )
        low, high = x.aminmax()
        if not (low >= 0 and high <= 1):  # also catches NaN
            raise ValueError(
                f"x: values from {low.item()} to {high.item()} are not allowed; allowed: [0, 1]"
            )


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every `nn.Linear` as PyTorch does, U(±1/√fan_in), from a generator of its own."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for parameter in (module.weight, module.bias):
                with torch.no_grad():
                    parameter.uniform_(-bound, bound, generator=generator)


def build(config: ModelConfig, loss: str) -> HierarchicalVAE:
    """An uninitialised model of the given sizes on the CPU; never touches the global generator."""
    sizes = (config.input_dim, config.hidden_dim, config.latent_dim, config.num_layers)
    with torch.device("meta"):
        model = HierarchicalVAE(*sizes, use_bce=loss == "bce")
    empty = {name: torch.empty(p.shape) for name, p in model.state_dict().items()}
    model.load_state_dict(empty, assign=True)  # `to_empty` imports sympy: a second or so
    return model


def initial(config: RunConfig) -> HierarchicalVAE:
    """The model as `init(seed, config)` draws it: its sizes and the seed decide, nothing else."""
    sizes, model = config.model, build(config.model, config.train.loss)
    name = (sizes.input_dim, sizes.hidden_dim, sizes.latent_dim, sizes.num_layers)
    initialise(model, stream("init", config.train.seed, *name))
    return model


def ancestral(model: HierarchicalVAE, noise: Tensor) -> list[Tensor]:
    """z_1…z_T drawn from the prior with noise [..., T, L]: T times [..., L]."""
    *lower, z = noise.unbind(-2)
    levels = [z]
    for t in range(len(lower), 0, -1):
        z = model.decode(t, z) + lower[t - 1]
        levels.insert(0, z)
    return levels


def posterior_means(model: HierarchicalVAE, x: Tensor) -> list[Tensor]:
    """Mean of each level given the mean of the one below: T times [B, L]."""
    means, z = [], x
    for t in range(model.config.num_layers):
        z = model.posterior(t, z).mu
        means.append(z)
    return means


def with_weights(run: RunConfig, weights: Mapping[str, npt.NDArray[np.generic]]) -> HierarchicalVAE:
    """The trained model of a run. Raises `ValueError` where the weights are not of its sizes."""
    model = build(run.model, run.train.loss)
    try:
        model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    except RuntimeError as error:
        raise ValueError(f"weights: they do not fit the run's model: {error}") from error
    return model


def state(model: HierarchicalVAE) -> dict[str, npt.NDArray[np.float32]]:
    """The model's state_dict as float32 arrays, under the documented names."""
    return {name: p.detach().float().cpu().numpy() for name, p in model.state_dict().items()}
