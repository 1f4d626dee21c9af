"""What the levels above a given one add: how much likelier images are under the whole model than
under the one that ends at that level, its last latents given a Gaussian of full covariance for a
prior.

Both are importance-weighted by the same draws, so that the difference hardly depends on their
number. Levels that say nothing add nothing, but for what the fitted Gaussian does better or worse
than the constant prior that they leave. Shapes: N images, L latent.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.data.images import Images, binarize
from hvae.evaluation.importance import Aggregate
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.objectives import Level

BLOCK_IMAGES = 1000  # training images that share a draw of noise: part of its definition
GPU_BLOCKS = 20


def aggregates(models: Sequence[HierarchicalVAE], images: Images) -> list[list[Aggregate]]:
    """The Gaussian with mean and covariance of q(z_t) over the training images, for each model, of
    each level but the top one. The test images, whose NLL it serves, take no part in it."""
    if all(model.config.num_layers == 1 for model in models):
        return [[] for _ in models]
    inputs = _inputs(models, images)
    return [
        [_aggregate(level) for level in zip(*_posteriors(model, inputs), strict=True)]
        for model in models
    ]


class Inputs(NamedTuple):
    """The training images and a draw of noise for each, which all models see."""

    pixels: Tensor  # [N, D] uint8
    levels: int
    noise: Tensor  # [N, T - 1, L], of the levels but a model's top one
    top: Tensor  # [N, 1, L]


def _inputs(models: Sequence[HierarchicalVAE], images: Images) -> Inputs:
    pixels, levels = images.train, images.train_levels
    if images.test_levels < levels:  # binarised anew each epoch: here once
        pixels, levels = binarize(pixels, levels, streams.stream("binarize", 0)), 1
    below = max(model.config.num_layers for model in models) - 1
    latent = max(model.config.latent_dim for model in models)
    blocks = [
        (start, min(BLOCK_IMAGES, len(pixels) - start))
        for start in range(0, len(pixels), BLOCK_IMAGES)
    ]
    noise = [streams.noise("aggregate", n, 0, count, below, latent) for n, count in blocks]
    top = [streams.noise("aggregate top", n, 0, count, 1, latent) for n, count in blocks]
    device = next(models[0].parameters()).device
    return Inputs(
        torch.from_numpy(pixels).to(device),
        levels,
        torch.cat(noise).to(device),
        torch.cat(top).to(device),
    )


def _posteriors(model: HierarchicalVAE, inputs: Inputs) -> Iterator[list[Level]]:
    """q(z_t | z_{t-1}) of every level but the top one, along one draw for each training image."""
    below, latent = model.config.num_layers - 1, model.config.latent_dim
    at_once = BLOCK_IMAGES * (1 if inputs.pixels.device.type == "cpu" else GPU_BLOCKS)
    for start in range(0, len(inputs.pixels), at_once):
        part = slice(start, start + at_once)
        x = inputs.pixels[part].float() / inputs.levels
        noise = torch.cat([inputs.noise[part, :below, :latent], inputs.top[part, :, :latent]], 1)
        yield model.infer(model.evidence(x), noise).levels[:-1]


def _aggregate(parts: tuple[Level, ...]) -> Aggregate:
    mu = torch.cat([part.mu for part in parts]).double()  # [N, L]
    variance = torch.cat([part.logvar for part in parts]).double().exp()
    covariance = mu.mT.cov(correction=0) + variance.mean(0).diag()
    return Aggregate(mu.mean(0), torch.linalg.cholesky_ex(covariance).L)
