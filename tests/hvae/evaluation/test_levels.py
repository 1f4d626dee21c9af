"""Gains of levels: exact where the model is linear, nothing where a level is dead."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import nn
from torch.distributions import MultivariateNormal

from hvae.config import DataConfig
from hvae.data.images import Images, binarize, load
from hvae.evaluation import nll
from hvae.evaluation.evaluate import evaluate
from hvae.evaluation.levels import aggregates
from hvae.evaluation.likelihood import plain_sums
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.likelihoods import bernoulli_nll
from hvae.model.networks import Decoder, Encoder
from hvae.model.objectives import joint_kl_per_unit
from hvae.streams import stream

D, L, N = 64, 2, 30


@pytest.fixture(scope="module")
def digits() -> Images:
    images = load(DataConfig("digits"), Path())
    return replace(
        images,
        train=images.train[:200],
        train_labels=images.train_labels[:200],
        test=images.test[:N],
        test_labels=images.test_labels[:N],
        test_binary=images.test_binary[:N],
    )


def network(depth: int, loss: str = "bce") -> HierarchicalVAE:
    """A random model whose levels inform each other."""
    torch.manual_seed(depth)
    model = HierarchicalVAE(D, 20, L, depth, use_bce=loss == "bce")
    for parameter in model.parameters():
        parameter.data *= 1.6
    return model


@torch.no_grad()
def test_aggregates_have_the_moments_of_the_posterior_over_the_training_images() -> None:
    exact = LinearGaussian(2, spread=1.5)
    images = exact.images(3000)  # more than are taken at once, the last part ragged
    (found,) = aggregates([exact.model], replace(images, test=images.test[:2]))[0]
    mean = exact.mean(torch.tensor(images.train).float() / 255)
    covariance = mean.T.cov(correction=0) + exact.variances[0] * torch.eye(exact.L)
    torch.testing.assert_close(found.mean, mean.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.factor @ found.factor.T, covariance, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_upper_aggregates_are_those_of_draws_through_the_lower_levels() -> None:
    """z_2 given z_1 has mean c z_1: its variance holds that of z_1, not of its mean alone."""
    exact = LinearGaussian(2)
    encoders, sizes = exact.model.encoders, exact.model.config
    deeper = HierarchicalVAE(sizes.input_dim, sizes.hidden_dim, exact.L, 3, use_bce=False)
    for level in range(2):
        deeper.encoders[level].load_state_dict(encoders[level].state_dict())
    images = exact.images(4000)
    first, second = aggregates([deeper], images)[0]
    c, v = exact.a / (1 + exact.a**2), exact.variances[1]
    expected = c**2 * (first.factor @ first.factor.T) + v * torch.eye(exact.L)
    error = 4 * 2**0.5 / 4000**0.5  # four errors of a variance over 4,000 draws
    torch.testing.assert_close(second.factor @ second.factor.T, expected, rtol=error, atol=0.05)


def test_one_level_has_no_aggregate(digits: Images) -> None:
    assert aggregates([network(1)], digits)[0] == []


@torch.no_grad()
def test_images_that_are_binarised_anew_are_binarised_for_the_aggregate(digits: Images) -> None:
    dynamic = load(DataConfig("digits", "dynamic"), Path())
    drawn = binarize(dynamic.train, dynamic.train_levels, stream("binarize", 0))
    static = replace(dynamic, train=drawn, train_levels=1)
    for found, expected in zip(
        aggregates([network(2)], dynamic)[0], aggregates([network(2)], static)[0], strict=True
    ):
        assert torch.equal(found.factor, expected.factor)


@torch.no_grad()
def test_the_gain_of_a_linear_level_is_its_closed_form() -> None:
    """The evidence, less that of pPCA whose z_1 has the mean and covariance of the aggregate."""
    exact = LinearGaussian(2)
    images = exact.images(500)
    x, (top,) = torch.tensor(images.test).double() / 255, aggregates([exact.model], images)[0]
    q = exact.q.double()
    covariance = torch.eye(exact.D) + q @ top.factor @ top.factor.T @ q.T
    shorter = MultivariateNormal(0.5 + q @ top.mean, covariance).log_prob(x)
    each = exact.log_evidence(x) - shorter
    found = evaluate([exact.model], images, 400, sums=plain_sums).metrics[0]
    none, gain = found["level_gain_nats"]
    assert none is None
    # 0.01: four Monte-Carlo errors of 400 draws of 500 images; both bounds share most of them.
    assert gain == pytest.approx(each.mean().item(), abs=0.01)
    assert abs(gain) > 0.02
    error = found["level_gain_test_set_error_nats"][1]
    assert error == pytest.approx(each.std().item() / 500**0.5, rel=0.2)


@torch.no_grad()
def test_gains_are_differences_from_the_lower_levels_with_another_prior(digits: Images) -> None:
    """Of a nonlinear model, by many draws from the encoder of the first level."""
    model = network(2)
    (top,) = aggregates([model], digits)[0]
    x = torch.tensor(digits.test).float() / 16
    mu, logvar = model.posterior(0, x)
    noise = torch.randn(20_000, N, L, generator=torch.Generator().manual_seed(1))
    z = mu + noise * (logvar / 2).exp()
    normal = torch.distributions.Normal(mu, (logvar / 2).exp())
    log_p = -bernoulli_nll(model.decode(0, z), x)
    log_w = log_p + top.log_density(z) - normal.log_prob(z).sum(-1)
    bound = (log_w.double().logsumexp(0) - math.log(len(z))).mean().item()
    found = evaluate([model], digits, 1000).metrics[0]
    expected = -found["nll_nats"] - bound
    assert abs(expected) > 0.01
    assert found["level_gain_nats"][1] == pytest.approx(expected, abs=0.004)


def without_top(model: HierarchicalVAE) -> HierarchicalVAE:
    """The top level dead: neither its encoder nor its decoder hears of the other levels, and the
    level below has the prior for its aggregate."""
    below, top = model.encoders[-2:]
    for encoder in (below, top):
        assert isinstance(encoder, Encoder)
        for parameter in (*encoder.linear_mu.parameters(), *encoder.linear_logvar.parameters()):
            nn.init.zeros_(parameter)
    decoder = model.decoders[-1]
    assert isinstance(decoder, Decoder)
    for parameter in decoder.linear_2.parameters():
        nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [2, 3])
def test_a_dead_level_adds_nothing(depth: int, loss: str, digits: Images) -> None:
    found = evaluate([without_top(network(depth, loss))], digits, 200).metrics[0]
    error = found["level_gain_test_set_error_nats"][-1]
    assert 0 < error < 0.05
    assert found["level_gain_nats"][-1] == pytest.approx(0, abs=4 * error)
    assert found["kl_per_level_nats"][-1] == 0


@pytest.mark.parametrize("depth", [2, 4])
def test_every_level_but_the_first_has_a_gain(depth: int, digits: Images) -> None:
    found = evaluate([network(depth)], digits, 20).metrics[0]
    for name in ("level_gain_nats", "level_gain_test_set_error_nats"):
        first, *others = found[name]
        assert first is None
        assert len(others) == depth - 1
        assert np.isfinite(others).all()


@torch.no_grad()
def test_the_kl_of_a_linear_level_is_its_mutual_information(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over images that the model draws: I(z_1; z_2) = ½ log(1 + a²) a unit, z_1 ~ N(a z_2, I)."""
    exact, count = LinearGaussian(2), 20_000
    monkeypatch.setattr(nll, "CERTIFIED_IMAGES", count)
    target, _ = nll.drawn_images(exact.model, torch.device("cpu"))
    noise = torch.randn(count, 2, exact.L, generator=torch.Generator().manual_seed(0))
    latents = exact.model.infer(exact.model.evidence(target.x), noise)
    kl = joint_kl_per_unit(latents, torch.ones(()))[:, 1]  # of level 2: [B, L]
    information = 0.5 * math.log(1 + exact.a**2)
    assert (kl.mean(0) - information).abs().max() < 4 * kl.std() / count**0.5
