"""What single latent units do, from means over joint samples. Shapes: S samples, B images of a
block, T levels, L latent."""

import torch
from torch import Tensor

from hvae.model.objectives import Latents, joint_kl_per_unit, stacked

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, arXiv:1509.00519, section 5.2
Values = dict[str, Tensor]  # a value per image: [B, ...] or [N, ...], float64


def unit_sums(latents: Latents) -> Values:
    """Sums over the images of a block, of means over its S draws: [T, L] each.

    Per unit the KL, and of the posterior's mean and its shift from the prior's the sum, the sum of
    squares, and the variance that is due to averaging S draws only.
    """
    mean = stacked([level.mu for level in latents.levels])  # [S, B, T, L]
    shift = mean - stacked([prior.mu for prior in latents.priors])
    live = torch.ones((), device=mean.device)
    sums = {"kl": joint_kl_per_unit(latents, live).mean(0).double().sum(0)}
    for name, draws in (("mean", mean), ("shift", shift)):
        value = draws.mean(0)
        variance = (draws - value).square().mean(0)  # torch.var takes twenty times as long
        sums[name] = value.double().sum(0)
        sums[f"{name}_square"] = value.double().square().sum(0)
        sums[f"{name}_noise"] = variance.double().sum(0) / max(1, len(draws) - 1)
    return sums


def active_units(units: Values, name: str, images: int) -> list[int]:
    """Units of each level whose expectation under q varies over images by more than 0.01: [T].

    The variance of a mean of S draws holds 1/S of the variance between draws, taken off here.
    """
    squares = units[f"{name}_square"] - units[name].square() / images
    variance = squares / (images - 1) - units[f"{name}_noise"] / images
    return (variance > ACTIVE_VARIANCE).sum(-1).tolist()
