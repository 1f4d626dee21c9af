"""How the encoders infer the latents of an image: from the bottom up, as documented, or from the
top down. Shapes: B batch, D pixels, L latent, T levels.

What of the posterior depends on the image alone is its *evidence*; the rest depends on the draws.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hvae.model.gaussians import Gaussian, Prior, UnitGaussian, leading
from hvae.model.objectives import Latents, Level

Evidence = list[Gaussian]


class Maps(Protocol):
    """What an inference asks of a model; levels are counted from 0."""

    depth: int

    def posterior(self, level: int, below: Tensor) -> Gaussian:
        """What the level's encoder says of what lies below it."""

    def prior(self, level: int, z: Tensor) -> Prior:
        """p of the level below, given this one's z."""


class Inference(Protocol):
    """q(z_1…z_T | x)."""

    knows_marginals: bool  # whether z_1…z_t have a density of their own for every t

    def evidence(self, maps: Maps, x: Tensor) -> Evidence:
        """[B, D] -> Gaussians of [B, L]."""

    def infer(self, maps: Maps, evidence: Evidence, noise: Tensor) -> Latents:
        """One joint draw: noise [..., B, T, L]."""

    def posteriors(self, maps: Maps, evidence: Evidence, z: Sequence[Tensor]) -> list[Gaussian]:
        """q of each level at given latents, T times [..., B, L]."""

    def means(self, maps: Maps, x: Tensor) -> list[Tensor]:
        """Mean of each level at the means of those that it is inferred from: T times [B, L]."""


class BottomUp:
    """q(z_1 | x) Π q(z_t | z_{t-1})."""

    knows_marginals = True

    def evidence(self, maps: Maps, x: Tensor) -> Evidence:
        return [maps.posterior(0, x)]

    def infer(self, maps: Maps, evidence: Evidence, noise: Tensor) -> Latents:
        (q,) = evidence
        levels: list[Level] = []
        for t, eps in enumerate(noise.unbind(-2)):
            if t > 0:
                q = maps.posterior(t, levels[-1].z)
            levels.append(drawn(q, eps))
        return Latents(levels, priors(maps, [level.z for level in levels]))

    def posteriors(self, maps: Maps, evidence: Evidence, z: Sequence[Tensor]) -> list[Gaussian]:
        return [*evidence, *(maps.posterior(t, below) for t, below in enumerate(z[:-1], start=1))]

    def means(self, maps: Maps, x: Tensor) -> list[Tensor]:
        means, z = [], x
        for t in range(maps.depth):
            z = maps.posterior(t, z).mu
            means.append(z)
        return means


class TopDown:
    """q(z_T | x) Π q(z_t | z_{t+1}, x), each but the topmost the prior times what a deterministic
    upward pass says (Sønderby et al. 2016, arXiv:1602.02282). The upward pass is the encoders',
    each of which sees the mean of the one below: no parameter is added."""

    knows_marginals = False

    def evidence(self, maps: Maps, x: Tensor) -> Evidence:
        upward: Evidence = []
        below = x
        for t in range(maps.depth):
            upward.append(maps.posterior(t, below))
            below = upward[-1].mu
        return upward

    def infer(self, maps: Maps, evidence: Evidence, noise: Tensor) -> Latents:
        *lower, top = zip(evidence, noise.unbind(-2), strict=True)
        levels = [drawn(*top)]
        over: list[Prior] = [UnitGaussian(torch.zeros_like(levels[0].mu))]
        for t, (upward, eps) in reversed(list(enumerate(lower))):
            prior = maps.prior(t + 1, levels[0].z)
            levels.insert(0, drawn(prior.merged(upward), eps))
            over.insert(0, prior)
        return Latents(levels, over)

    def posteriors(self, maps: Maps, evidence: Evidence, z: Sequence[Tensor]) -> list[Gaussian]:
        lower = zip(priors(maps, z), evidence[:-1], strict=False)
        return [*(prior.merged(upward) for prior, upward in lower), evidence[-1]]

    def means(self, maps: Maps, x: Tensor) -> list[Tensor]:
        *lower, top = self.evidence(maps, x)
        means = [top.mu]
        for t, upward in reversed(list(enumerate(lower))):
            means.insert(0, maps.prior(t + 1, means[0]).merged(upward).mu)
        return means


INFERENCES: dict[str, Inference] = {"bottom-up": BottomUp(), "top-down": TopDown()}


def drawn(q: Gaussian, noise: Tensor) -> Level:
    """A level's posterior and a draw from it; of wider noise the leading units: [..., B, L]."""
    z = q.draw(leading(noise, q.mu.shape[-1]))
    return Level(q.mu.expand_as(z), q.logvar.expand_as(z), z)


def priors(maps: Maps, z: Sequence[Tensor]) -> list[Prior]:
    """p(z_t | z_{t+1}) of every level at given latents; of the topmost N(0, I)."""
    lower = [maps.prior(t, own) for t, own in enumerate(z) if t > 0]
    return [*lower, UnitGaussian(torch.zeros_like(z[-1]))]
