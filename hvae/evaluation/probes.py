"""What a level knows of the digit: a linear probe on its posterior means.

Shapes: N images, K classes, L latent, d = L + 1 features, the last of them 1.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hvae.data.images import Images
from hvae.model.hierarchy import HierarchicalVAE, posterior_means

TRAIN_IMAGES = 10_000  # of the training set; more move the accuracy by under 1 %
NEWTON_STEPS, CONVERGED = 20, 1e-2  # at most; a step that moves no weight by more is the last


def probe_accuracies(model: HierarchicalVAE, images: Images) -> list[float]:
    """Share of test digits that logistic regression on each level's mean names right: [T].

    A level whose means do not vary scores what the most frequent training digit scores; one whose
    means are not finite, NaN.
    """
    device = next(model.parameters()).device
    labels, test_labels = (
        torch.tensor(part, device=device).long()
        for part in (images.train_labels, images.test_labels)
    )
    rows = probe_rows(images.train_labels)
    train = level_means(model, images.train[rows], images.train_levels)
    test = level_means(model, images.test, images.test_levels)
    return [
        _accuracy(own, labels[rows], other, test_labels)
        for own, other in zip(train, test, strict=True)
    ]


def probe_rows(labels: npt.NDArray[Any]) -> slice | npt.NDArray[Any]:
    """The training images that the probe learns from: the first, or where these lack a digit that
    others show, as in a set that is sorted, some of every part of it."""
    first = slice(TRAIN_IMAGES)
    if len(np.unique(labels[first])) == len(np.unique(labels)):
        return first
    return np.linspace(0, len(labels) - 1, TRAIN_IMAGES).astype(int)


def _accuracy(train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    if not (train.isfinite().all() and test.isfinite().all()):
        return math.nan
    mean, scale = train.mean(0), train.std(0, correction=0).clamp(min=1e-6)
    features, others = (_with_one((part - mean) / scale) for part in (train, test))
    found = (others @ logistic_regression(features, labels)).argmax(-1)
    return float((found == test_labels).double().mean())


def logistic_regression(features: Tensor, labels: Tensor) -> Tensor:
    """Weights [d, K] that minimise the cross-entropy of labels [N], summed over images, and half
    the squares of the weights but those of the last feature: by Newton's method, each step
    halved until it leads downhill. Features: [N, d], float64."""
    wanted = torch.nn.functional.one_hot(labels).to(features)  # [N, K]
    penalty = features.new_ones(features.shape[1], 1)
    penalty[-1] = 0.0
    weights = torch.zeros_like(penalty @ wanted[:1])

    def loss(weights: Tensor) -> Tensor:
        logits = features @ weights
        entropy = logits.logsumexp(-1) - (logits * wanted).sum(-1)
        return entropy.sum() + 0.5 * (penalty * weights.square()).sum()

    for _ in range(NEWTON_STEPS):
        p = (features @ weights).softmax(-1)
        gradient = features.mT @ (p - wanted) + penalty * weights
        step = torch.linalg.solve(
            _hessian(features.float(), p.float(), penalty), gradient.mT.flatten()
        )
        step = step.reshape(weights.mT.shape).mT
        while loss(weights - step) > loss(weights) and step.abs().max() > CONVERGED:
            step = step / 2
        weights = weights - step
        if step.abs().max() < CONVERGED:
            break
    return weights


def _hessian(features: Tensor, p: Tensor, penalty: Tensor) -> Tensor:
    """Of the loss, by the weights of one class after the other, in float64: [K·d, K·d]. Float32 for
    the sums over images will do: it turns the steps by little, and their end not at all."""
    (_, width), count = features.shape, p.shape[1]
    weighted = (p.unsqueeze(-1) * features.unsqueeze(1)).flatten(1)  # [N, K·d]
    hessian = -(weighted.mT @ weighted).double().reshape(count, width, count, width)
    own = (features.mT @ weighted).double().reshape(width, count, width).transpose(1, 2)
    hessian.diagonal(dim1=0, dim2=2).add_(own + penalty.squeeze(-1).diag().unsqueeze(-1))
    hessian[:, -1, :, -1] += 1.0  # nothing else holds a constant that all classes have in common
    matrix = hessian.flatten(2).flatten(0, 1)
    matrix.diagonal().add_(1e-6)  # where a class is sure of every image
    return matrix


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)


@torch.no_grad()
def level_means(model: HierarchicalVAE, pixels: np.ndarray, levels: int) -> list[Tensor]:
    """Each level's means of all images, in float64, a thousand images at a time: T times [N, L]."""
    device = next(model.parameters()).device
    parts = [
        posterior_means(model, torch.tensor(part, device=device).float() / levels)
        for part in np.array_split(pixels, math.ceil(len(pixels) / 1000))
    ]
    return [torch.cat(level).double() for level in zip(*parts, strict=True)]
