"""The reported NLL: importance-weighted by draws from close to each image's posterior, on a fixed
subset of the test set, and carried over to the whole of it; and what certifies it.

The encoders' bound by few draws is known of every image, and lies above the NLL by much the same of
each: the mean of the test set is that bound's, less what it is too high by on the subset.
Shapes: S samples, B images of a block, N test images, n of the subset, T levels, L latent.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.config import CERTIFIED_IMAGES
from hvae.evaluation.estimators import variance_of_bound
from hvae.evaluation.importance import Aggregate, LogWeights, Proposal, log_weights
from hvae.evaluation.likelihood import PixelSums, Target
from hvae.evaluation.posterior import closest_gaussian
from hvae.evaluation.units import Values
from hvae.model.hierarchy import HierarchicalVAE, ancestral
from hvae.model.objectives import effective_samples, importance_bound, stacked


def subset(images: int, count: int) -> Tensor:
    """Which test images the NLL is sampled on, the same for every run: [n], ascending."""
    if count >= images:
        return torch.arange(images)
    chosen = torch.randperm(images, generator=streams.stream("nll images"))[:count]
    return chosen.sort().values


def sampled(
    model: HierarchicalVAE,
    target: Target,
    noise: Sequence[Tensor],
    tops: Sequence[Aggregate],
    sums: PixelSums,
) -> Values:
    """What the weights of a block say of each image: [B, ...]. Noise [S, B, T, L] in parts; `tops`
    as `log_weights` takes them."""
    proposal = proposal_for(model, target)
    whole, shorter = _weights(proposal, noise, tops, sums)
    bound = importance_bound(whole)
    return {
        "bound": bound,
        "bound_variance": variance_of_bound(whole),
        "effective_samples": effective_samples(whole),
        "gains": bound.unsqueeze(-1) - importance_bound(shorter),  # [B, T - 1]
        "is_fallback": (~proposal.gaussian.is_found).double(),
    }


def _weights(
    proposal: Proposal, noise: Sequence[Tensor], tops: Sequence[Aggregate], sums: PixelSums
) -> LogWeights:
    """The weights of as many draws as there is noise, a part at a time to bound the memory."""
    samples, parts, start = sum(map(len, noise)), [], 0
    for part in noise:
        draws = proposal.draw(part, start, samples)
        parts.append(log_weights(proposal, draws, samples, tops, sums))
        start += len(part)
    return LogWeights(*(torch.cat(weights) for weights in zip(*parts, strict=True)))


def proposal_for(model: HierarchicalVAE, target: Target) -> Proposal:
    """The mixture that a block of images is sampled from."""
    return Proposal(model, target, model.evidence(target.x), closest_gaussian(model, target))


class Corrected(NamedTuple):
    """An NLL carried over from the subset: a value for each test image [N], whose mean is the NLL
    and whose spread is its test-set error, the choice of the subset included (of single images only
    the encoders' bound is known, unless all were sampled); and its Monte-Carlo error."""

    values: Tensor
    monte_carlo_error: float


def corrected(
    few: Tensor,
    few_variance: Tensor,
    chosen: Tensor,
    bound: Tensor,
    bound_variance: Tensor,
    covariance: Tensor | float = 0.0,
) -> Corrected:
    """Bounds on log p(x) by few draws from the encoders of all test images [N], corrected by a
    better bound on those chosen [n]; with the variances of their own errors, and the covariance of
    both bounds [n]. Of the error of the few n / N cancels in the chosen."""
    images, count = len(few), len(chosen)
    correction = bound - few[chosen]
    values = few + correction.mean()
    values[chosen] += (correction - correction.mean()) * (images / count)
    of_each, left = few_variance / images**2, 1 / count - 1 / images
    of_each[chosen] = (
        few_variance[chosen] * left**2 + (bound_variance / count - 2 * covariance * left) / count
    )
    return Corrected(-values, float(of_each.sum().clamp(min=0.0).sqrt()))


class Gap(NamedTuple):
    """By how much an upper and a lower bound on log p(x) differ on images that the model drew."""

    nats: float
    standard_error_nats: float


def certify(model: HierarchicalVAE, noise: Sequence[Tensor], sums: PixelSums) -> Gap:
    """How far the NLL can be off, from images whose true latents are known (Grosse et al. 2015,
    arXiv:1511.02543): with these among the draws the mean weight is, in the mean of its log, an
    upper bound, without them a lower one. Noise [S, B, T, L] in parts, B = `CERTIFIED_IMAGES`."""
    samples, device = sum(map(len, noise)), noise[0].device
    target, z = drawn_images(model, device)
    proposal = proposal_for(model, target)
    lower = _weights(proposal, noise, (), sums).whole  # [S, B]
    true = log_weights(proposal, proposal.at(z.unsqueeze(0)), samples, [], sums).whole[0]
    upper = lower.clone()
    upper[_slots(proposal, z, samples), torch.arange(len(z), device=device)] = true
    gaps = importance_bound(upper) - importance_bound(lower)
    return Gap(float(gaps.mean()), float(gaps.std() / len(gaps) ** 0.5))


def drawn_images(model: HierarchicalVAE, device: torch.device) -> tuple[Target, Tensor]:
    """Images that the model draws, under its own likelihood, and their latents [B, T, L]."""
    sizes, count = model.config, CERTIFIED_IMAGES
    noise = streams.noise("certificate", 0, 0, count, sizes.num_layers, sizes.latent_dim)
    levels = ancestral(model, noise.to(device))
    generator = streams.stream("certificate pixels")
    x = model.likelihood.draw(model.decode(0, levels[0]), generator)
    return Target(x, model.loss, model.logvar), stacked(levels)


def _slots(proposal: Proposal, z: Tensor, samples: int) -> Tensor:
    """Which draw the true latents [B, T, L] replace: one that came from the component that they may
    have come from, drawn by its share of their density. Only so is the bound an upper one."""
    of_encoder, draws = proposal.of_encoder(samples), proposal.at(z.unsqueeze(0))
    density = proposal.encoder_log_density(draws.levels)[0, :, -1]
    mixture = proposal.log_density(draws, samples)[0, :, -1]
    chance = of_encoder / samples * (density - mixture).exp()
    uniform = torch.rand(len(z), generator=streams.stream("certificate slots"), dtype=chance.dtype)
    return torch.where(uniform.to(chance.device) < chance, 0, samples - 1)
