"""Importance weights of joint draws from a mixture: the Gaussian of posterior.py for each image,
and a tenth from the encoders, so that no weight is over ten times what it would be under them.

Shapes: S samples of a block of noise, B images, T levels, L latent. Units: nats.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hvae.evaluation.densities import Levels, encoded, levels_at, own_units
from hvae.evaluation.likelihood import PixelSums, Target, pixel_nlls
from hvae.evaluation.posterior import JointGaussian
from hvae.model.gaussians import LOG_2_PI, leading
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.inference import Evidence

ENCODER_SHARE = 0.1


class Aggregate(NamedTuple):
    """A full-covariance Gaussian for a level's latents over the data: mean [L], lower Cholesky
    factor of the covariance [L, L], in float64."""

    mean: Tensor
    factor: Tensor

    def log_density(self, z: Tensor) -> Tensor:
        """[S, B, L] -> [S, B]."""
        eye = torch.eye(len(self.mean), dtype=self.mean.dtype, device=self.mean.device)
        inverse = torch.linalg.solve_triangular(self.factor, eye, upper=False).to(z)
        noise = (leading(z, len(self.mean)) - self.mean.to(z)) @ inverse.mT
        log_density: Tensor = -0.5 * (noise.square() + LOG_2_PI).sum(-1).double()
        return log_density - self.factor.diagonal().log().sum()


class Draws(NamedTuple):
    """Latents with their densities, and the log density that the Gaussian of a proposal gives z_1,
    z_1 and z_2, and so on to all levels [S, B, T]; inf where it is not known what a draw has."""

    levels: Levels
    gaussian: Tensor


class Proposal(NamedTuple):
    """The mixture for a block of images: `evidence` is the encoders'."""

    model: HierarchicalVAE
    target: Target
    evidence: Evidence
    gaussian: JointGaussian
    share: float = ENCODER_SHARE

    def of_encoder(self, samples: int) -> int:
        """How many of so many draws come from the encoders: a fixed number, not a random one."""
        return math.ceil(self.share * samples - 1e-9)  # at least the share, but for rounding

    def draw(self, noise: Tensor, start: int, samples: int) -> Draws:
        """Draws number `start` and on of `samples` in all, by noise [S, B, T, L]."""
        z, is_found = self.gaussian.at(noise), self.gaussian.is_found
        encoders = min(max(self.of_encoder(samples) - start, 0), len(noise))
        if not is_found.all():
            encoders = len(noise)
        if not encoders:  # the density of what the Gaussian drew is known from its noise
            levels = levels_at(self.model, self.evidence, z)
            return Draws(levels, self.gaussian.log_density(noise))
        own = encoded(self.model, self.evidence, noise[:encoders]).z
        of_encoder = torch.arange(encoders, device=noise.device) < self.of_encoder(samples) - start
        chosen = (of_encoder[:, None] | ~is_found)[..., None, None]
        z[:encoders] = torch.where(chosen, own, z[:encoders])
        draws = self.at(z)
        if not self.model.inference.knows_marginals:  # these have no share in the shorter models
            draws.gaussian[:encoders, :, :-1].masked_fill_(chosen.squeeze(-1), torch.inf)
        return draws

    def at(self, z: Tensor) -> Draws:
        """Given latents [S, B, T, L] as if they were drawn."""
        gaussian = self.gaussian.log_density(self.gaussian.noise_of(z))
        return Draws(levels_at(self.model, self.evidence, z), gaussian)

    def log_density(self, draws: Draws, samples: int) -> Tensor:
        """Log density of z_1, of z_1 and z_2, and so on to all levels, as one of so many draws:
        [S, B, T]."""
        encoder = self.encoder_log_density(draws.levels)
        share = torch.tensor(self.of_encoder(samples) / samples, dtype=encoder.dtype)
        mixture = torch.logaddexp(share.log() + encoder, (1 - share).log() + draws.gaussian)
        is_mixed = self.gaussian.is_found[:, None].expand(-1, encoder.shape[-1]).clone()
        if not self.model.inference.knows_marginals:
            is_mixed[:, :-1] = True
        return torch.where(is_mixed, mixture, encoder)

    def encoder_log_density(self, levels: Levels) -> Tensor:
        """log q(z_1 | x), log q(z_1, z_2 | x) and so on: [S, B, T]; -inf where it is not known."""
        density = levels.up.cumsum(-1)
        if not self.model.inference.knows_marginals:
            density[..., :-1] = -torch.inf
        return density


class LogWeights(NamedTuple):
    """log p(x, z) - log q(z) of the whole model, [S, B], and of the models that end at level 1 to
    T - 1 with an `Aggregate` for a prior, [S, B, T - 1], by the same draws."""

    whole: Tensor
    shorter: Tensor


def log_weights(
    proposal: Proposal, draws: Draws, samples: int, tops: Sequence[Aggregate], sums: PixelSums
) -> LogWeights:
    """The weights of draws; `tops` hold the priors of the shorter models, or none
    where these are not asked for."""
    (z, prior, _), decoder = draws.levels, proposal.model.pixel_decoder
    (nll,) = pixel_nlls(
        decoder, own_units(proposal.model, z)[0].contiguous(), [proposal.target], sums
    )
    density = proposal.log_density(draws, samples)
    whole = prior.sum(-1) - nll - density[..., -1]
    below = prior.cumsum(-1) - prior  # of z_1 … z_{t-1} given what lies above each
    shorter = [
        below[..., t] + top.log_density(z[..., t, :]) - nll - density[..., t]
        for t, top in enumerate(tops)
    ]
    none = whole.new_zeros(*whole.shape, 0)
    return LogWeights(whole, torch.stack(shorter, dim=-1) if shorter else none)
