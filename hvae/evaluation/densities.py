"""Log densities of many draws, level by level, under the decoders and under the encoders.

Latents of all levels are one tensor, of levels narrower than the widest filled with 0.
Shapes: S samples, B images, T levels, L latent of the widest. Units: nats.
"""

import ctypes
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hvae.model.gaussians import LOG_2_PI, leading, log_density
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.inference import Evidence, priors
from hvae.model.networks import Decoder, Encoder
from hvae.model.objectives import stacked
from hvae.native.bindings import constant, unknown_part
from hvae.native.build import library


class Levels(NamedTuple):
    """Latents, the log density of each level under the decoders, and under the encoders; both in
    float64."""

    z: Tensor  # [..., T, L]
    down: Tensor  # log p(z_t | z_{t+1}), of the top level log p(z_T): [..., T]
    up: Tensor  # log q(z_t | x and the levels that it is inferred from): [..., T]


def encoded(model: HierarchicalVAE, evidence: Evidence, noise: Tensor) -> Levels:
    """What the encoders draw with noise [S, B, T, L]."""
    z = noise.clone()
    if _is_compiled(model, z):
        (first,) = evidence
        z[..., 0, :] = first.mu + noise[..., 0, :] * (0.5 * first.logvar).exp()
        down, up = _squares(model, z, is_noise=True)
        return _levels(evidence, z, down, up)
    z = stacked([level.z for level in model.infer(evidence, noise).levels])
    return levels_at(model, evidence, z)


def levels_at(model: HierarchicalVAE, evidence: Evidence, z: Tensor) -> Levels:
    """Of given latents [..., T, L]."""
    if _is_compiled(model, z):
        return _levels(evidence, z, *_squares(model, z, is_noise=False))
    levels = own_units(model, z)
    posteriors = model.inference.posteriors(model, evidence, levels)
    up = [log_density(own, q) for own, q in zip(levels, posteriors, strict=True)]
    return Levels(z, log_prior(model, z), torch.stack(up, dim=-1))


def log_prior(model: HierarchicalVAE, z: Tensor) -> Tensor:
    """Log density of each level of given latents under the decoders: [..., T, L] -> [..., T]."""
    if _is_compiled(model, z):
        return _down(z, _squares(model, z, is_noise=False)[0])
    levels = own_units(model, z)
    over = zip(levels, priors(model, levels), strict=True)
    return torch.stack([log_density(own, prior) for own, prior in over], dim=-1)


def own_units(model: HierarchicalVAE, z: Tensor) -> list[Tensor]:
    """Each level of latents [..., T, L], at its own width."""
    return list(map(leading, z.unbind(-2), model.config.latents))


def _levels(evidence: Evidence, z: Tensor, down: Tensor, up: Tensor) -> Levels:
    """From the squares: what of a density is not constant, times -2, without the top level's under
    the decoders and the first's under the encoders."""
    first = log_density(z[..., 0, :], evidence[0]).unsqueeze(-1)
    constant = z.shape[-1] * LOG_2_PI
    return Levels(z, _down(z, down), torch.cat([first, -0.5 * (up.double() + constant)], dim=-1))


def _down(z: Tensor, squares: Tensor) -> Tensor:
    top = z[..., -1:, :].square().sum(-1)
    squares = torch.cat([squares, top], dim=-1)
    return -0.5 * (squares.double() + z.shape[-1] * LOG_2_PI)


def _is_compiled(model: HierarchicalVAE, z: Tensor) -> bool:
    """Whether step.c is there, and knows the model."""
    if z.device.type != "cpu" or z.requires_grad or not z.is_contiguous():
        return False
    is_double = z.dtype == torch.float64
    return not unknown_part(model.config) and library(is_double=is_double) is not None


def _squares(model: HierarchicalVAE, z: Tensor, is_noise: bool) -> tuple[Tensor, Tensor]:
    """By step.c, for every level but the top one, of z_t given z_{t+1} and of z_{t+1} given z_t.
    With `is_noise` the levels above the first are noise, and hold afterwards what the encoders
    drew."""
    step = library(is_double=z.dtype == torch.float64)
    assert step is not None
    *rows, levels, latent = z.shape
    sizes, panel = model.config, constant(step, "panel")
    weights = [weight.contiguous() for weight in _upper_weights(model)]
    addresses = (ctypes.c_void_p * len(weights))(*(weight.data_ptr() for weight in weights))
    work = z.new_empty(panel * (2 * sizes.hidden_dim + (levels + 2) * latent))
    down, up = z.new_empty(2, *rows, levels - 1)
    step.level_sums(
        *(z.data_ptr(), math.prod(rows), levels, latent, sizes.hidden_dim),
        *(addresses, is_noise),
        *(work.data_ptr(), down.data_ptr(), up.data_ptr()),
    )
    return down, up


def _upper_weights(model: HierarchicalVAE) -> Iterator[Tensor]:
    """As step.c wants them: of each level above the first those of its encoder and its decoder."""
    for encoder, decoder in zip(model.encoders[1:], model.decoders[1:], strict=True):
        assert isinstance(encoder, Encoder)
        assert isinstance(decoder, Decoder)
        layers = (encoder.linear, encoder.linear_mu, encoder.linear_logvar)
        for layer in (*layers, decoder.linear_1, decoder.linear_2):
            yield layer.weight
            yield layer.bias
