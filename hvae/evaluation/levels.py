"""What the levels above a given one add: how much likelier images are under the whole model than
under the one that ends at that level, its last latents given a Gaussian of full covariance for a
prior.

Both are importance-weighted by the same draws, so that the difference hardly depends on their
number. Levels that say nothing add nothing, but for what the fitted Gaussian does better or worse
than the constant prior that they leave. Shapes: N images, L latent.
"""

from collections.abc import Iterator

import torch

from hvae import streams
from hvae.data.images import Images, binarize
from hvae.evaluation.importance import Aggregate
from hvae.model import HierarchicalVAE
from hvae.objectives import Level

AT_ONCE = 1000  # training images, to bound the memory


def aggregates(model: HierarchicalVAE, images: Images) -> list[Aggregate]:
    """The Gaussian with mean and covariance of q(z_t) over the training images, for each level but
    the top one. The test images, whose NLL it serves, take no part in it."""
    if model.config.num_layers == 1:
        return []
    return [_aggregate(level) for level in zip(*_posteriors(model, images), strict=True)]


def _posteriors(model: HierarchicalVAE, images: Images) -> Iterator[list[Level]]:
    """q(z_t | z_{t-1}) of every level but the top one, along one draw for each training image."""
    pixels, levels = images.train, images.train_levels
    below, latent = model.config.num_layers - 1, model.config.latent_dim
    if images.test_levels < levels:  # binarised anew each epoch: here once
        pixels, levels = binarize(pixels, levels, streams.stream("binarize", 0)), 1
    device = next(model.parameters()).device
    for start in range(0, len(pixels), AT_ONCE):
        x = torch.tensor(pixels[start : start + AT_ONCE], device=device).float() / levels
        noise = streams.noise("aggregate", start, 0, len(x), below, latent)
        top = streams.noise("aggregate top", start, 0, len(x), 1, latent)
        yield model.infer(model.evidence(x), torch.cat([noise, top], dim=1).to(device)).levels[:-1]


def _aggregate(parts: tuple[Level, ...]) -> Aggregate:
    mu = torch.cat([part.mu for part in parts]).double()  # [N, L]
    variance = torch.cat([part.logvar for part in parts]).double().exp()
    covariance = mu.mT.cov(correction=0) + variance.mean(0).diag()
    return Aggregate(mu.mean(0), torch.linalg.cholesky_ex(covariance).L)
