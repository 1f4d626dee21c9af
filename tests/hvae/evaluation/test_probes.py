"""hvae/evaluation/probes.py on images and encoders made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from hvae.data.images import Images
from hvae.evaluation import probes
from hvae.evaluation.probes import logistic_regression, probe_accuracies
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.networks import Encoder

CLASSES = 4


def classes(images: int) -> Images:
    """Class k lights pixel k, at 0 or 3 of 3 grey levels; test images at 0 or 1 of 1."""
    labels = np.concatenate([np.arange(images) % CLASSES, np.zeros(images // 4)]).astype(np.uint8)
    test_labels = (np.arange(images) % CLASSES).astype(np.uint8)
    eye = np.eye(CLASSES, dtype=np.uint8)
    test = eye[test_labels]
    return Images(3 * eye[labels], labels, 3, test, test_labels, 1, test, "")


def copying_model(depth: int = 2) -> HierarchicalVAE:
    """mu_1 copies the pixels; every other mean is constant, whatever the variances."""
    model = HierarchicalVAE(CLASSES, CLASSES, CLASSES, depth)
    first = model.encoders[0]
    assert isinstance(first, Encoder)
    for encoder in model.encoders:
        for parameter in encoder.parameters():
            nn.init.zeros_(parameter)
    nn.init.eye_(first.linear.weight)
    nn.init.eye_(first.linear_mu.weight)
    nn.init.constant_(first.linear_logvar.bias, 3.0)
    return model


def test_separable_means_are_named_right_and_constant_means_by_chance() -> None:
    assert probe_accuracies(copying_model(3), classes(100)) == [1.0, 0.25, 0.25]


def test_training_and_test_bytes_are_counted_each_in_their_own_levels() -> None:
    """Trained on black and white, the probe must tell one third from two thirds."""
    labels = (np.arange(40) % 2).astype(np.uint8)
    ones = np.ones((1, CLASSES), dtype=np.uint8)
    train, test = 3 * labels[:, None] * ones, (2 + 2 * labels)[:, None] * ones
    images = Images(train, labels, 3, test, labels, 6, test, "")
    assert probe_accuracies(copying_model(1), images) == [1.0]


def test_the_share_of_right_digits_is_that_of_the_test_labels() -> None:
    images = classes(100)
    labels = images.test_labels.copy()
    labels[:20] = (labels[:20] + 1) % CLASSES
    assert probe_accuracies(copying_model(1), replace(images, test_labels=labels)) == [0.8]


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_the_regression_is_that_of_scikit_learn(spread: float) -> None:
    """Of classes that overlap, and of classes far apart, where a whole step may lead uphill."""
    torch.manual_seed(0)
    labels = torch.arange(400) % CLASSES
    x = spread * torch.randn(CLASSES, 6)[labels].double() + torch.randn(400, 6).double()
    weights = logistic_regression(torch.cat([x, torch.ones(400, 1)], dim=1), labels)
    expected = LogisticRegression(max_iter=10_000, tol=1e-8).fit(x.numpy(), labels.numpy())
    np.testing.assert_allclose(weights[:-1].T, expected.coef_, atol=2e-3)
    shifts = weights[-1] - weights[-1].mean()
    np.testing.assert_allclose(shifts, expected.intercept_ - expected.intercept_.mean(), atol=5e-3)


def test_the_regression_survives_heavy_tails() -> None:
    """There whole steps of Newton's lead uphill, and ever further."""
    torch.manual_seed(0)
    labels = torch.arange(1000) % 10
    x = torch.distributions.Cauchy(0.0, 1.0).sample((1000, 20))
    x = (x + 3 * torch.randn(10, 20)[labels]).double()
    x = (x - x.mean(0)) / x.std(0)
    features = torch.cat([x, torch.ones(1000, 1)], dim=1)
    expected = LogisticRegression(max_iter=10_000, tol=1e-8).fit(x.numpy(), labels.numpy())
    found = (features @ logistic_regression(features, labels)).softmax(-1)
    np.testing.assert_allclose(found, expected.predict_proba(x.numpy()), atol=1e-2)


def test_the_probe_learns_nothing_from_the_test_images() -> None:
    images = classes(100)
    wrong = (images.train_labels + 1) % CLASSES
    assert probe_accuracies(copying_model(1), replace(images, train_labels=wrong)) == [0.0]


def test_the_probe_learns_from_the_first_training_images_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = classes(100)
    monkeypatch.setattr(probes, "TRAIN_IMAGES", 40)
    labels = images.train_labels.copy()
    labels[40:] = (labels[40:] + 1) % CLASSES
    assert probe_accuracies(copying_model(1), replace(images, train_labels=labels)) == [1.0]


def test_the_probe_uses_means_of_the_model_as_it_is_and_repeats_itself() -> None:
    torch.manual_seed(0)
    model, images = HierarchicalVAE(CLASSES, 8, 2, 2), classes(60)
    before = torch.get_rng_state()
    assert probe_accuracies(model, images) == probe_accuracies(model, images)
    assert torch.equal(torch.get_rng_state(), before)


def test_of_a_sorted_set_some_of_every_part_are_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "TRAIN_IMAGES", 4)
    mixed, ordered = np.array([0, 1, 0, 1, 0, 1, 0, 1]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert mixed[probes.probe_rows(mixed)].tolist() == [0, 1, 0, 1]
    assert ordered[probes.probe_rows(ordered)].tolist() == [0, 0, 1, 1]
    assert ordered[probes.probe_rows(ordered[:2])].tolist() == [0, 0, 0, 0]
