"""Diagonal Gaussians of latents, and what a training and an evaluation ask of them.

A prior is a `Gaussian` or a `UnitGaussian`, whose variance is one and costs nothing to compute.
Shapes: L latent. Units: nats.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2_PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """N(mu, e^logvar): [..., L] each."""

    mu: Tensor
    logvar: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Standard normal noise as a draw: [..., L] -> [..., L]."""
        return self.mu + noise * torch.exp(self.logvar / 2)

    def deviance(self, z: Tensor) -> Tensor:
        """-2 log density per unit, less log 2π: [..., L] -> [..., L]."""
        return (z - self.mu).square() * (-self.logvar).exp() + self.logvar

    def kl_from(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """KL(N(mu, e^logvar) ‖ this) per unit, closed form: [..., L] -> [..., L]."""
        off = (mu - self.mu).square() * (-self.logvar).exp()
        return 0.5 * ((logvar - self.logvar).exp() + off - 1.0 - logvar + self.logvar)

    def merged(self, other: "Gaussian") -> "Gaussian":
        """The product of both densities, normalised: their precisions added, their means weighted
        by them (Sønderby et al. 2016, arXiv:1602.02282, eq. 12 and 13)."""
        share = (self.logvar - other.logvar).sigmoid()  # of the precision, the other's
        mu = self.mu + share * (other.mu - self.mu)
        return Gaussian(mu, self.logvar + F.logsigmoid(other.logvar - self.logvar))


class UnitGaussian(NamedTuple):
    """N(mu, 1): [..., L]."""

    mu: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """As `Gaussian.draw`."""
        return self.mu + noise

    def deviance(self, z: Tensor) -> Tensor:
        """As `Gaussian.deviance`."""
        return (z - self.mu).square()

    def kl_from(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """As `Gaussian.kl_from`."""
        return 0.5 * (logvar.exp() + (mu - self.mu).square() - 1.0 - logvar)

    def merged(self, other: Gaussian) -> Gaussian:
        """As `Gaussian.merged`."""
        share = (-other.logvar).sigmoid()
        return Gaussian(self.mu + share * (other.mu - self.mu), F.logsigmoid(other.logvar))


Prior = Gaussian | UnitGaussian


def leading(values: Tensor, width: int) -> Tensor:
    """Of values of the widest level's units those of a narrower one: [..., L] -> [..., width]."""
    return values if values.shape[-1] == width else values[..., :width]


def log_density(z: Tensor, given: Prior) -> Tensor:
    """[..., L] -> [...], float64."""
    return -0.5 * (given.deviance(z) + LOG_2_PI).sum(-1).double()
