"""Log densities of many draws, level by level, under the decoders and under the encoders.

Shapes: S samples, B images, T levels, L latent. Units: nats.
"""

import ctypes
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hvae.model import Decoder, Encoder, Gaussian, HierarchicalVAE
from hvae.native.bindings import constant
from hvae.native.build import library
from hvae.objectives import LOG_2_PI


class Levels(NamedTuple):
    """Latents, the log density of each level given the one above it, and of each above the first
    given the one below; both in float64."""

    z: Tensor  # [..., T, L]
    down: Tensor  # log p(z_t | z_{t+1}), of the top level log p(z_T): [..., T]
    up: Tensor  # log q(z_t | z_{t-1}): [..., T - 1]


def encoded(model: HierarchicalVAE, first: Gaussian, noise: Tensor) -> Levels:
    """What the encoders draw with noise [S, B, T, L]; `first` is q(z_1 | x)."""
    z = noise.clone()
    z[..., 0, :] = first.mu + noise[..., 0, :] * (0.5 * first.logvar).exp()
    if (squares := _squares(model, z, is_noise=True)) is not None:
        return _levels(z, *squares)
    return levels_at(model, torch.stack([level.z for level in model.infer(first, noise)], dim=-2))


def levels_at(model: HierarchicalVAE, z: Tensor) -> Levels:
    """Of given latents [..., T, L]."""
    squares = _squares(model, z, is_noise=False)
    return _levels(z, *(_plain_squares(model, z) if squares is None else squares))


def log_density(z: Tensor, given: Gaussian) -> Tensor:
    """Of a diagonal Gaussian: [..., L] -> [...], float64."""
    off = (z - given.mu).square() * (-given.logvar).exp()
    return -0.5 * (off + given.logvar + LOG_2_PI).sum(-1).double()


def _levels(z: Tensor, down: Tensor, up: Tensor) -> Levels:
    """From the squares: what of a density is not constant, times -2, without the top level's."""
    constant = z.shape[-1] * LOG_2_PI
    top = z[..., -1:, :].square().sum(-1)
    down = torch.cat([down, top], dim=-1)
    return Levels(z, *(-0.5 * (squares.double() + constant) for squares in (down, up)))


def _plain_squares(model: HierarchicalVAE, z: Tensor) -> tuple[Tensor, Tensor]:
    """For every level but the top one, of z_t given z_{t+1} and of z_{t+1} given z_t."""
    down, up = [z.new_zeros(*z.shape[:-2], 0)], [z.new_zeros(*z.shape[:-2], 0)]
    for t in range(1, z.shape[-2]):
        below, own = z[..., t - 1, :], z[..., t, :]
        mu, logvar = model.posterior(t, below)
        squares = (own - mu).square() * (-logvar).exp() + logvar
        up.append(squares.sum(-1, keepdim=True))
        down.append((below - model.decode(t, own)).square().sum(-1, keepdim=True))
    return torch.cat(down, dim=-1), torch.cat(up, dim=-1)


def _squares(model: HierarchicalVAE, z: Tensor, is_noise: bool) -> tuple[Tensor, Tensor] | None:
    """The same by step.c, where that can be had. With `is_noise` the levels above the first are
    noise, and hold afterwards what the encoders drew."""
    step = library(z.dtype == torch.float64) if z.device.type == "cpu" else None
    if step is None or z.requires_grad or not z.is_contiguous():
        return None
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
