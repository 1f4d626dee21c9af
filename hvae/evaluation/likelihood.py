"""log p of an image under many draws of z_1: nearly all of the cost of an evaluation.

Of logits l = W h + b, Σ_d x_d l_d is h · Wᵀx + b · x: a sum over hidden units, not over pixels.
Shapes: S draws, s of them at once, B images, D pixels, H hidden. Units: nats.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hvae.model.likelihoods import Likelihood, gaussian_nll, likelihood
from hvae.model.networks import Decoder
from hvae.native.bindings import constant
from hvae.native.build import library

# 1,000 rows at the 100 images of a block: 3 MB of logits at 784 pixels, which a cache can hold.
DRAWS_AT_ONCE = 10
SUMMED = ("bce", "mse", "gaussian")  # what `pixel_sums` are enough for

Sums = tuple[Tensor, Tensor | None]
PixelSums = Callable[[Decoder, Tensor, Tensor | None], Sums]


class Target(NamedTuple):
    """Images and the likelihood that they are judged under, by its name in likelihoods.py; of
    several at once at most one is Gaussian."""

    x: Tensor  # [B, D]
    loss: str
    logvar: Tensor | None = None  # of "gaussian"

    @property
    def likelihood(self) -> Likelihood:
        return likelihood(self.loss, self.logvar)


def pixel_nlls(
    decoder: Decoder, z: Tensor, targets: Sequence[Target], sums: PixelSums
) -> list[Tensor]:
    """-log p of each target's images, from z_1 [S, B, L]: [S, B] each. `sums` is one of the two
    below.

    All take the same draw of z, a proposal like any other for each, and the decoder runs once.
    """
    hidden = decoder.hidden(z)  # [S, B, H]
    weight, bias = decoder.linear_2.weight, decoder.linear_2.bias

    def agreement(pixels: Tensor) -> Tensor:
        return (hidden * (pixels @ weight)).sum(-1) + pixels @ bias  # Σ_d x_d l_d: [S, B]

    if any(target.loss not in SUMMED for target in targets):
        return [_plain_nll(decoder, hidden, target) for target in targets]
    real = next((target.x for target in targets if target.loss != "bce"), None)
    partition, errors = sums(decoder, hidden, real)
    nlls = []
    for x, loss, logvar in targets:
        if loss == "bce":
            nlls.append(partition - agreement(x))
        else:
            assert errors is not None
            variance = errors.new_zeros(()) if logvar is None else logvar
            nlls.append(gaussian_nll(errors, x.shape[-1], variance))
    return nlls


def _plain_nll(decoder: Decoder, hidden: Tensor, target: Target) -> Tensor:
    parts = torch.split(hidden, _at_once(hidden))
    return torch.cat([target.likelihood.nll(decoder.output(part), target.x) for part in parts])


def fastest_sums(decoder: Decoder, hidden: Tensor, x: Tensor | None) -> Sums:
    """What `plain_sums` gives, by step.c on a CPU where that can be had."""
    step = library(is_double=hidden.dtype == torch.float64) if hidden.device.type == "cpu" else None
    if step is None:
        return plain_sums(decoder, hidden, x)
    weight, bias = decoder.linear_2.weight, decoder.linear_2.bias
    hidden, (draws, images, width) = hidden.contiguous(), hidden.shape
    partition, error = hidden.new_empty(2, draws, images)
    panel, across = constant(step, "panel"), None
    if x is not None:  # as step.c reads images: [D, B and the first of them again]
        across = x.mT[:, torch.arange(images + panel) % images].contiguous()
    work = hidden.new_empty(panel * width)
    step.pixel_sums(
        *(hidden.data_ptr(), draws * images, width),
        *(weight.data_ptr(), bias.data_ptr(), len(bias)),
        *(None if across is None else across.data_ptr(), images),
        *(work.data_ptr(), partition.data_ptr(), error.data_ptr()),
    )
    return partition, None if x is None else error


def plain_sums(
    decoder: Decoder, hidden: Tensor, x: Tensor | None, at_once: int | None = None
) -> Sums:
    """`pixel_sums` of the logits of hidden units [S, B, H], `at_once` draws to bound the memory."""
    draws = torch.split(hidden, at_once or _at_once(hidden))
    parts = [pixel_sums(decoder.output(part), x) for part in draws]
    errors = [error for _, error in parts if error is not None]
    return torch.cat([part for part, _ in parts]), torch.cat(errors) if errors else None


def _at_once(hidden: Tensor) -> int:
    """How many of the draws [S, B, H] to take at once: on a GPU all, as blocks.py bounds them."""
    return DRAWS_AT_ONCE if hidden.device.type == "cpu" else len(hidden)


def pixel_sums(logits: Tensor, x: Tensor | None) -> Sums:
    """Σ softplus(l) over the pixels and, if x is given, Σ (sigmoid(l) - x)²: [s, B, D] and
    [B, D] -> [s, B] each.

    softplus(l) = max(l, 0) - log sigmoid(|l|), at half the cost: sigmoid(|l|) lies in [½, 1), the
    product of 16 of them cannot underflow, and one logarithm serves 16 pixels.
    """
    positive = logits.relu().sum(-1)
    if x is None:
        error, likelier = None, logits.abs().sigmoid_()
    else:
        p = logits.sigmoid()
        error = (p - x).square_().sum(-1)
        likelier = p.sub_(0.5).abs_().add_(0.5)  # sigmoid(|l|)
    factors = math.gcd(logits.shape[-1], 16)
    products = likelier.reshape(*logits.shape[:-1], factors, -1).prod(-2)
    return positive - products.log().sum(-1), error
