"""What a level buys: the ELBO minus the bound whose levels t…T are drawn from the prior.

With z_1…z_{t-1} from q and z_t…z_T from p, the log weight is again a valid lower bound in
expectation; a level that says nothing of x loses nothing by it. Shapes: s samples, B images,
T levels, L latent, D pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hvae import streams
from hvae.model import HierarchicalVAE, ancestral
from hvae.objectives import LOG_2_PI, Latents

PRIOR_SAMPLES = 1000  # draws of z_1 from the prior, shared by all images


def value_gaps(model: HierarchicalVAE, result: Latents, noise: Tensor) -> Tensor:
    """Per joint sample, what levels t…T buy, for t = 2…T: [s, B, T - 1].

    The terms of levels below t - 1 and the pixels are the same in both bounds and cancel, and so
    do the constants of the Gaussians. `noise` [s, B, T, L] draws the levels from the prior.
    """
    prior = ancestral(model, noise)
    gaps: list[Tensor] = []
    upper = noise.new_zeros(())
    for t in range(len(result.levels) - 1, 0, -1):
        q, mean = result.levels[t], result.prior_means[t]
        below, below_mean = result.levels[t - 1].z, result.prior_means[t - 1]
        log_q = -0.5 * (((q.z - q.mu).square() * (-q.logvar).exp()) + q.logvar).sum(-1)
        log_p = -0.5 * (q.z - mean).square().sum(-1)
        upper = upper + log_p - log_q  # levels t…T of the ELBO
        with_q = -0.5 * (below - below_mean).square().sum(-1)
        drawn_mean = model.decode(t, prior[t])
        with_p = -0.5 * (below - drawn_mean).square().sum(-1)
        gaps.insert(0, upper + with_q - with_p)
    none = noise.new_zeros(*noise.shape[:-2], 0)
    return torch.stack(gaps, dim=-1) if gaps else none


def prior_likelihood(model: HierarchicalVAE, x: Tensor, loss: str) -> tuple[Tensor, float]:
    """E over p(z_1) of log p(x | z_1) per image [N], and the Monte-Carlo standard error of its
    mean over images: all images share the draws, so that error does not fall with N."""
    sizes = model.config
    noise = streams.noise("ancestral", 0, 0, PRIOR_SAMPLES, sizes.num_layers, sizes.latent_dim)
    logits = model.decode(0, ancestral(model, noise.to(x.device))[0]).double()  # [s, D]
    if loss == "bce":
        slope, offset = logits, -F.softplus(logits).sum(-1)
        own = logits.new_zeros(len(x))
    else:  # -½ Σ (x - p)² - ½ D log 2π, multiplied out
        slope, offset = logits.sigmoid(), -0.5 * logits.sigmoid().square().sum(-1)
        own = -0.5 * (x.square().sum(-1, dtype=torch.float64) + x.shape[-1] * LOG_2_PI)
    per_draw = slope @ x.mean(0, dtype=torch.float64) + offset  # [s]
    error = per_draw.std() / len(per_draw) ** 0.5
    parts = [part.double() @ slope.mean(0) for part in torch.split(x, 1000)]  # to save memory
    return own + torch.cat(parts) + offset.mean(), float(error)
