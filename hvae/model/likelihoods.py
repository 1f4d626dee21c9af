"""What an image is given the pixel logits of a model. Shapes: D pixels. Units: nats.

A likelihood says of logits and images, [..., D] each: `nll`, -log p with all constants, [...];
`documented`, R of the documented loss, [...]; `mean`, the pixel means; `slopes`, the derivative of
the NLL by the logits and the weight of each pixel in its Gauss–Newton matrix; `draw`, an image.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hvae.model.gaussians import LOG_2_PI

SMALL = 0.02  # a logit: below it series take the place of what cancels, right to 1e-8


class Likelihood(Protocol):
    """One of those below."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor: ...
    def documented(self, logits: Tensor, x: Tensor) -> Tensor: ...
    def mean(self, logits: Tensor) -> Tensor: ...
    def slopes(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]: ...
    def draw(self, logits: Tensor, generator: torch.Generator) -> Tensor: ...


class Bernoulli:
    """Of each pixel with the mean sigmoid(logit); of grey levels no likelihood."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return bernoulli_nll(logits, x)

    documented = nll

    def mean(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def slopes(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        p = logits.sigmoid()
        return p - x, p * (1 - p)

    def draw(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        p = logits.sigmoid()
        return (torch.rand(p.shape, generator=generator).to(p.device) < p).to(p)


class UnitVariance:
    """A Gaussian of each pixel with the mean sigmoid(logit) and variance one."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return 0.5 * (squared_error(logits, x) + x.shape[-1] * LOG_2_PI)

    def documented(self, logits: Tensor, x: Tensor) -> Tensor:
        """The squared error without its ½ and constant."""
        return squared_error(logits, x)

    def mean(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def slopes(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        p = logits.sigmoid()
        slope = p * (1 - p)
        return (p - x) * slope, slope.square()

    def draw(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        p = logits.sigmoid()
        return p + torch.randn(p.shape, generator=generator).to(p.device)


class LearnedVariance(NamedTuple):
    """A Gaussian of each pixel with the mean sigmoid(logit) and one variance for all pixels and
    images (Rybkin et al. 2021, arXiv:2006.13202)."""

    logvar: Tensor  # scalar

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return gaussian_nll(squared_error(logits, x), x.shape[-1], self.logvar)

    def documented(self, logits: Tensor, x: Tensor) -> Tensor:
        return self.nll(logits, x)

    def mean(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def slopes(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        derivative, weight = UnitVariance().slopes(logits, x)
        precision = (-self.logvar).exp()
        return precision * derivative, precision * weight

    def draw(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        p = logits.sigmoid()
        noise = torch.randn(p.shape, generator=generator).to(p.device)
        return p + (0.5 * self.logvar).exp() * noise


class ContinuousBernoulli:
    """A density on [0, 1] of each pixel, e^(x·logit) / ∫ e^(u·logit) du (Loaiza-Ganem and
    Cunningham 2019, arXiv:1907.06845): what the Bernoulli of grey levels lacks is its constant."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return (log_partition(logits) - x * logits).sum(-1)

    documented = nll

    def mean(self, logits: Tensor) -> Tensor:
        return continuous_mean(logits)

    def slopes(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return continuous_mean(logits) - x, continuous_variance(logits)

    def draw(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(logits.shape, generator=generator).to(logits)
        size = logits.abs().clamp(min=SMALL)
        # By the inverse of the distribution function, of the logit's size: u mirrored where it is
        # negative; where it is small the density is as good as flat.
        u = torch.where(logits >= 0, uniform, 1 - uniform)
        x = 1 + (u + (1 - u) * (-size).exp()).log() / size
        x = torch.where(logits.abs() < SMALL, u, x)
        return torch.where(logits >= 0, x, 1 - x)


class BernoulliOfMean:
    """A Bernoulli of each pixel with the mean of a continuous Bernoulli: how such a model is judged
    on binarised images."""

    def nll(self, logits: Tensor, x: Tensor) -> Tensor:
        return bernoulli_nll(mean_logits(logits), x)

    documented = nll

    def mean(self, logits: Tensor) -> Tensor:
        return continuous_mean(logits)

    def slopes(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, slope = continuous_mean(logits), continuous_variance(logits)
        spread = mean * (1 - mean)
        return (mean - x) * slope / spread, slope.square() / spread

    def draw(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        return Bernoulli().draw(mean_logits(logits), generator)


FIXED: dict[str, Likelihood] = {  # without a parameter of their own
    "bce": Bernoulli(),
    "mse": UnitVariance(),
    "continuous-bernoulli": ContinuousBernoulli(),
    "mean": BernoulliOfMean(),
}


def likelihood(loss: str, logvar: Tensor | None = None) -> Likelihood:
    """The likelihood of a loss; "gaussian" has a log-variance."""
    if loss == "gaussian":
        assert logvar is not None
        return LearnedVariance(logvar)
    return FIXED[loss]


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log Bernoulli(x | sigmoid(logits)), summed over pixels: [..., D] -> [...]."""
    return (F.softplus(logits) - x * logits).sum(-1)


def squared_error(logits: Tensor, x: Tensor) -> Tensor:
    """Σ (x - sigmoid(logits))² over pixels: [..., D] -> [...]."""
    return (x - logits.sigmoid()).square().sum(-1)


def gaussian_nll(error: Tensor, pixels: int, logvar: Tensor) -> Tensor:
    """-log p of a Gaussian of one variance, from the squared error summed over pixels."""
    return 0.5 * (error * (-logvar).exp() + pixels * (LOG_2_PI + logvar))


def log_partition(logits: Tensor) -> Tensor:
    """log ∫ e^(u l) du over [0, 1] = log((e^l - 1) / l) of each logit."""
    size = logits.abs().clamp(min=SMALL)
    large = size / 2 + (-torch.expm1(-size) / size).log()
    small = logits.square() / 24  # the next term is l⁴ / 2880
    return logits / 2 + torch.where(logits.abs() < SMALL, small, large)


def continuous_mean(logits: Tensor) -> Tensor:
    """The mean of a continuous Bernoulli, the derivative of `log_partition`."""
    safe = _away_from_zero(logits)
    small = 0.5 + logits / 12
    return torch.where(logits.abs() < SMALL, small, -1 / torch.expm1(-safe) - 1 / safe)


def continuous_variance(logits: Tensor) -> Tensor:
    """The variance of a continuous Bernoulli, the second derivative of `log_partition`."""
    size = logits.abs().clamp(min=SMALL)
    decay = (-size).exp()
    large = size.square().reciprocal() - decay / torch.expm1(-size).square()
    return torch.where(logits.abs() < SMALL, 1 / 12 - logits.square() / 240, large)


def mean_logits(logits: Tensor) -> Tensor:
    """The logit of the mean of a continuous Bernoulli."""
    mean = continuous_mean(logits)
    other = continuous_mean(-logits)  # 1 - mean, without what cancels
    return mean.log() - other.log()


def _away_from_zero(logits: Tensor) -> Tensor:
    return torch.where(logits.abs() < SMALL, SMALL, logits)
