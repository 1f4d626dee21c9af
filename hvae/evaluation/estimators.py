"""Bounds on the evidence from log weights, and the errors of means. Units: nats.

Shapes: S samples, B images of a block, N images.
"""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from hvae.model.objectives import effective_samples, importance_bound

CURVE = (1, 10, 100, 1000)
JACKKNIFE_GROUPS = 10


def bounds(log_w: Tensor, sizes: Collection[int] = CURVE) -> dict[str, Tensor]:
    """The ELBO and the importance-weighted bounds per image, from log weights [S, B]: by all S
    draws, and by groups of the sizes that are smaller."""
    samples, bound = len(log_w), importance_bound(log_w)
    values = {
        "elbo": log_w.mean(0),
        "elbo_variance": variance_of_mean(log_w),
        "effective_samples": effective_samples(log_w),
        "bound": bound,
        "bound_variance": variance_of_bound(log_w),
        f"bound_{samples}": bound,
    }
    for fewer in (size for size in sizes if size < samples):  # disjoint groups, averaged
        groups = log_w[: samples // fewer * fewer].reshape(-1, fewer, log_w.shape[-1])
        values[f"bound_{fewer}"] = importance_bound(groups.transpose(0, 1)).mean(0)
    return values


def variance_of_mean(draws: Tensor) -> Tensor:
    """Estimated variance of the mean over S draws: [S, ...] -> [...]; NaN for one draw."""
    squares = (draws - draws.mean(0)).square().sum(0)
    return squares / (len(draws) * (len(draws) - 1)) if len(draws) > 1 else squares * torch.nan


def variance_of_bound(log_w: Tensor) -> Tensor:
    """Estimated variance of log of the mean weight, by a jackknife that leaves out each tenth draw
    in turn: [S, B] -> [B]; NaN for one draw.

    Where few weights carry the sum, as those of the encoders do, the delta method states half of
    the error, and this one all of it.
    """
    groups = min(JACKKNIFE_GROUPS, len(log_w))
    if groups < 2:
        return torch.full_like(log_w[0], torch.nan)
    sums = torch.stack([log_w[group::groups].logsumexp(0) for group in range(groups)])
    counts = [len(log_w) - len(log_w[group::groups]) for group in range(groups)]
    bounds = _all_but_one(sums) - sums.new_tensor(counts).log().unsqueeze(-1)
    return (bounds - bounds.mean(0)).square().sum(0) * (groups - 1) / groups


def covariance_of_bounds(log_w: Tensor, few: int) -> Tensor:
    """Estimated covariance of the bound by all draws with the mean of the bounds by groups of few,
    by a jackknife that leaves out each group in turn: [S, B] -> [B]; 0 for one group."""
    groups = len(log_w) // few
    if groups < 2:
        return torch.zeros_like(log_w[0])
    sums = log_w[: groups * few].reshape(groups, few, -1).logsumexp(1)
    without = _all_but_one(sums)
    return -((without - without.mean(0)) * (sums - sums.mean(0))).mean(0)


def _all_but_one(sums: Tensor) -> Tensor:
    """From the logs of sums, those of the sums of all others: [G, B] -> [G, B]."""
    others = sums.expand(len(sums), -1, -1).clone()  # [left out, group, B]
    others.diagonal().fill_(-torch.inf)
    return others.logsumexp(1)


def monte_carlo_error(variance: Tensor) -> Tensor:
    """Standard error of a mean over images from the variance of each image's estimate."""
    return (variance.sum(0) / len(variance) ** 2).sqrt()


def test_set_error(values: Tensor) -> float:
    """Standard error of a mean over test images, as a sample of all images; NaN for one image."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan
