"""Per-image terms of the objectives. Shapes: B images, T levels, L latent, D pixels. Units: nats.

Every function is plain arithmetic on one model's pass and can be mapped over a pack of models.
`live` is 1 for the model's own latent units and 0 for the padding of a pack: [L].
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hvae.model.gaussians import Gaussian, Prior, leading
from hvae.model.likelihoods import Likelihood, likelihood


class Level(NamedTuple):
    """q(z_t | z_{t-1}) and one draw from it: [..., B, L] each."""

    mu: Tensor
    logvar: Tensor
    z: Tensor


class Latents(NamedTuple):
    """One joint sample: T levels, and p(z_t | z_{t+1}) of each (N(0, I) at the top)."""

    levels: list[Level]
    priors: list[Prior]


class Pass(NamedTuple):
    """A joint sample with its pixel logits."""

    levels: list[Level]
    priors: list[Prior]
    logits: Tensor

    def likelihood(self, loss: str) -> Likelihood:
        """That of a loss."""
        return likelihood(loss)


class PassWithVariance(NamedTuple):
    """The same of a model that learns the variance of its pixels."""

    levels: list[Level]
    priors: list[Prior]
    logits: Tensor
    logvar: Tensor  # scalar

    def likelihood(self, loss: str) -> Likelihood:
        """That of a loss."""
        return likelihood(loss, self.logvar)


AnyPass = Pass | PassWithVariance


def closed_form_kl(result: Latents | AnyPass) -> Tensor:
    """K_t of the documented loss, at the drawn z_{t+1}: [..., T]."""
    terms = [
        prior.kl_from(level.mu, level.logvar).sum(-1)
        for level, prior in zip(result.levels, result.priors, strict=True)
    ]
    return torch.stack(terms, dim=-1)


def joint_kl_per_unit(result: Latents | AnyPass, live: Tensor) -> Tensor:
    """log q - log p of each unit with one joint sample, its sum the KL of the joint: [..., T, L].

    -H(q) in closed form and -log p(z_t | z_{t+1}) at the drawn z_t; the top level, whose prior
    does not depend on the draw, entirely in closed form. Padding has no entropy: masked.
    """
    *lower, top = zip(result.levels, result.priors, strict=True)
    terms = [
        0.5 * live_part(live, q.z) * (prior.deviance(q.z) - 1.0 - q.logvar) for q, prior in lower
    ]
    q, prior = top
    terms.append(prior.kl_from(q.mu, q.logvar))
    return stacked(terms)


def joint_kl(result: Latents | AnyPass, live: Tensor) -> Tensor:
    """The KL of the joint posterior by level: [..., T]."""
    return joint_kl_per_unit(result, live).sum(-1)


def documented_loss(result: AnyPass, x: Tensor, loss: str) -> Tensor:
    """R + 2 Σ_t K_t per image: the documented KL carries no ½. [B]."""
    kl = closed_form_kl(result).sum(-1)
    return result.likelihood(loss).documented(result.logits, x) + 2.0 * kl


class Settings(NamedTuple):
    """What may differ between the members of a pack, as tensors: scalars, `live` [L]."""

    kl_weight: Tensor
    kl_floor: Tensor  # free bits: nats a level gets for nothing; -inf for none
    live: Tensor


class Terms(NamedTuple):
    """Batch means of an objective and of its parts: scalar, scalar, [T]."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


def objective(name: str, loss: str, result: AnyPass, x: Tensor, settings: Settings) -> Terms:
    """The training objective `name` with the likelihood `loss`; S leading samples for `iwae`."""
    if name == "documented":
        reconstruction = result.likelihood(loss).documented(result.logits, x).mean()
        kl = closed_form_kl(result).mean(0)
        return Terms(reconstruction + 2.0 * weighted_kl(kl, settings), reconstruction, kl)
    nll = result.likelihood(loss).nll(result.logits, x)
    kl = joint_kl(result, settings.live)
    if name == "elbo":
        reconstruction, kl = nll.mean(), kl.mean(0)
        return Terms(reconstruction + weighted_kl(kl, settings), reconstruction, kl)
    bound = importance_bound(-nll + log_prior_ratio(result, settings.live))
    return Terms(-bound.mean(), nll.mean(), kl.mean((0, 1)))


def weighted_kl(kl: Tensor, settings: Settings) -> Tensor:
    """β Σ_t max(λ, K_t), K_t averaged over the batch first (Kingma et al. 2016,
    arXiv:1606.04934, eq. 15): [T] -> scalar."""
    return settings.kl_weight * torch.maximum(kl, settings.kl_floor).sum()


def log_prior_ratio(result: Latents | AnyPass, live: Tensor) -> Tensor:
    """Σ_t log p(z_t | z_{t+1}) - log q(z_t | z_{t-1}) at the drawn z: [..., L] -> [...]."""
    total = result.levels[0].z.new_zeros(())
    for (mu, logvar, z), prior in zip(result.levels, result.priors, strict=True):
        ratio = Gaussian(mu, logvar).deviance(z) - prior.deviance(z)
        total = total + (live_part(live, z) * ratio).sum(-1)
    return 0.5 * total


def live_part(live: Tensor, z: Tensor) -> Tensor:
    """Of the live units of the widest level [L] those of a level; one for all as it is."""
    return leading(live, z.shape[-1]) if live.ndim else live


def stacked(levels: Sequence[Tensor]) -> Tensor:
    """T levels [..., L'] as one, narrower ones filled with 0: [..., T, L]."""
    width = max(level.shape[-1] for level in levels)
    filled = [
        level if level.shape[-1] == width else F.pad(level, (0, width - level.shape[-1]))
        for level in levels
    ]
    return torch.stack(filled, dim=-2)


def importance_bound(log_w: Tensor) -> Tensor:
    """Importance-weighted bound per image (Burda et al. 2016, arXiv:1509.00519, eq. 8):
    [S, B] -> [B]."""
    return log_w.logsumexp(dim=0) - math.log(len(log_w))


def effective_samples(log_w: Tensor) -> Tensor:
    """(Σw)² / Σw² per image, in log space so that it cannot underflow: [S, B] -> [B]."""
    return (2 * log_w.logsumexp(dim=0) - (2 * log_w).logsumexp(dim=0)).exp()
