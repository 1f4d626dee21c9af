"""What single latent units do, from means over joint samples. Shapes: s samples, B images of a
block, T levels, L latent."""

import torch
from torch import Tensor

from hvae.objectives import Latents, closed_form_kl, joint_kl_per_unit

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, arXiv:1509.00519, section 5.2
Values = dict[str, Tensor]  # a value per image: [B, ...] or [N, ...], float64


def unit_moments(means: Values, samples: int) -> Values:
    """Sums over the images of a block, from means over S draws: [T, L] each.

    Per unit the KL, and of the posterior's mean and its shift from the prior's the sum, the sum of
    squares, and the variance that is due to averaging S draws only.
    """
    units = {"kl": means["kl"].sum(0)}
    for name in ("mean", "shift"):
        value, square = means[name], means[f"{name}_square"]  # [B, T, L]
        units[name] = value.sum(0)
        units[f"{name}_square"] = value.square().sum(0)
        units[f"{name}_noise"] = (square - value.square()).sum(0) / max(1, samples - 1)
    return units


def latent_sums(latents: Latents) -> Values:
    """What is averaged over joint samples, summed over these: [B, ...]."""
    mean = torch.stack([level.mu for level in latents.levels], dim=-2)
    shift = mean - torch.stack(latents.prior_means, dim=-2)
    terms = {
        "closed_form_kl": closed_form_kl(latents).sum(-1),
        "kl": joint_kl_per_unit(latents, torch.ones((), device=mean.device)),  # [s, B, T, L]
        "mean": mean,
        "mean_square": mean.square(),
        "shift": shift,
        "shift_square": shift.square(),
    }
    return {name: value.sum(0, dtype=torch.float64) for name, value in terms.items()}


def active_units(units: Values, name: str, images: int) -> list[int]:
    """Units of each level whose expectation under q varies over images by more than 0.01: [T].

    The variance of a mean of S draws holds 1/S of the variance between draws, taken off here.
    """
    squares = units[f"{name}_square"] - units[name].square() / images
    variance = squares / (images - 1) - units[f"{name}_noise"] / images
    return (variance > ACTIVE_VARIANCE).sum(-1).tolist()
