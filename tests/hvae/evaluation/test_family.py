"""The model family in evaluation: curvatures, importance weights, certificate, every metric."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import FAMILY, member, random_model
from torch import Tensor

from hvae.config import LOSSES, DataConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.evaluation import nll
from hvae.evaluation.densities import own_units
from hvae.evaluation.estimators import variance_of_bound
from hvae.evaluation.evaluate import evaluate
from hvae.evaluation.importance import Aggregate, log_weights
from hvae.evaluation.levels import aggregates
from hvae.evaluation.likelihood import Target, fastest_sums
from hvae.evaluation.posterior import curvature, log_joint
from hvae.model.gaussians import Gaussian, log_density
from hvae.model.hierarchy import HierarchicalVAE, ancestral, initial
from hvae.model.likelihoods import bernoulli_nll
from hvae.model.objectives import importance_bound, stacked
from hvae.pictures.samples import manifold, pictures

B, D, T = 5, 12, 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def given() -> Target:
    return Target((torch.rand(B, D, dtype=torch.float64) < 0.5).double(), "bce")


def latents(model: HierarchicalVAE, samples: int = 1) -> Tensor:
    """[S, B, T, L], what fills narrower levels 0."""
    z = torch.randn(samples, B, T, model.config.latent_dim, dtype=torch.float64)
    return stacked(own_units(model, z))


@pytest.mark.parametrize("name", FAMILY)
def test_the_gradient_is_that_of_autograd(name: str) -> None:
    model, target = random_model(name), given()
    z = latents(model)[0].requires_grad_()
    gradient, precision = curvature(model, z, target)
    (expected,) = torch.autograd.grad(-log_joint(model, z, target).sum(), z)
    torch.testing.assert_close(gradient, expected)
    assert (torch.linalg.eigvalsh(precision.own) > 0).all()


@pytest.mark.parametrize("name", ["documented", "top-down", "unequal levels"])
def test_with_unit_variances_the_matrix_is_the_hessian(name: str) -> None:
    model, target = random_model(name), given()
    z = latents(model)[0]
    _, precision = curvature(model, z, target)

    def energy(one: Tensor) -> Tensor:
        return -log_joint(model, one.reshape(1, T, -1), Target(target.x[:1], "bce")).sum()

    hessian = torch.autograd.functional.hessian(energy, z[:1].flatten())
    width = z.shape[-1]
    blocks = hessian.reshape(T, width, T, width)
    for t, units in enumerate(model.config.latents):
        torch.testing.assert_close(
            precision.own[0, t, :units, :units], blocks[t, :units, t, :units]
        )
    for t in range(T - 1):
        torch.testing.assert_close(precision.above[0, t], blocks[t, :, t + 1])


def test_a_learned_variance_enters_by_its_fisher_information() -> None:
    """The mean Hessian of -log p(z_1 | z_2) by z_2 over draws of z_1."""
    model, draws = random_model("learned variance", 2), 200_000
    top = torch.randn(1, 3, dtype=torch.float64)
    prior = model.prior(1, top)
    assert isinstance(prior, Gaussian)
    below = prior.draw(torch.randn(draws, 3, dtype=torch.float64))

    def energy(z: Tensor) -> Tensor:
        return -log_density(below, model.prior(1, z.reshape(1, 3))).mean()

    expected = torch.autograd.functional.hessian(energy, top.flatten())
    zeros = torch.zeros(1, D, dtype=torch.float64)
    z = torch.stack([prior.mu, top], dim=1)
    found = curvature(model, z, Target(zeros, "bce"))[1].own[0, 1] - torch.eye(3)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_the_mean_weight_is_that_of_draws_from_the_prior(name: str) -> None:
    model, target, samples = random_model(name), given(), 4000
    noise = torch.randn(samples, B, T, model.config.latent_dim, dtype=torch.float64)
    found = nll.sampled(model, target, [noise], (), fastest_sums)
    assert not found["is_fallback"].any()
    assert (found["effective_samples"] > 0.02 * samples).all()
    eps = torch.randn(200_000, 1, T, model.config.latent_dim, dtype=torch.float64)
    logits = model.decode(0, ancestral(model, eps)[0])
    by_prior = -bernoulli_nll(logits, target.x)  # [S, B]
    variance = variance_of_bound(by_prior) + found["bound_variance"]
    off = (importance_bound(by_prior) - found["bound"]).abs()
    assert (off < 5 * variance.sqrt() + 0.05).all()  # few weights carry much of the encoders' share


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_what_a_level_adds_is_what_the_gaussians_draws_alone_say(
    name: str, few_digits: Images
) -> None:
    """Those of the encoders know no density of lower levels alone where they infer top down."""
    model, target = random_model(name).float(), Target(given().x.float(), "bce")
    pixels = np.random.default_rng(0).integers(0, 2, (300, D), dtype=np.uint8)
    data = Images(pixels, pixels[:, 0], 1, pixels, pixels[:, 0], 1, pixels, "random")
    tops = aggregates([model], data)[0]
    assert [len(top.mean) for top in tops] == list(model.config.latents[:-1])
    noise = torch.randn(8000, B, T, model.config.latent_dim)
    found = nll.sampled(model, target, noise.split(3000), tops, fastest_sums)
    without = nll.proposal_for(model, target)._replace(share=0.0)
    draws = without.draw(noise, 0, len(noise))
    alone = log_weights(without, draws, len(noise), tops, fastest_sums)
    gains = importance_bound(alone.whole).unsqueeze(-1) - importance_bound(alone.shorter)
    assert found["gains"].shape == (B, T - 1)
    torch.testing.assert_close(found["gains"], gains, rtol=0, atol=0.25)


@torch.no_grad()
def test_an_image_without_a_gaussian_has_no_gain_where_the_encoders_have_no_marginals() -> None:
    model = random_model("top-down")
    proposal = nll.proposal_for(model, given())
    is_found = torch.tensor([True, False, True, True, True])
    gaussian = proposal.gaussian._replace(is_found=is_found)
    noise = torch.randn(200, B, T, 3, dtype=torch.float64)
    lost = proposal._replace(gaussian=gaussian)
    normal = Aggregate(torch.zeros(3).double(), torch.eye(3).double())
    found = log_weights(lost, lost.draw(noise, 0, 200), 200, [normal] * 2, fastest_sums)
    shorter = importance_bound(found.shorter)  # [B, T - 1]
    assert torch.equal(shorter.isfinite().all(-1), is_found)
    assert importance_bound(found.whole).isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_the_certificate_brackets(name: str) -> None:
    model = random_model(name).float()
    noise = torch.randn(200, nll.CERTIFIED_IMAGES, T, model.config.latent_dim)
    gap = nll.certify(model, [noise], fastest_sums)
    assert -4 * gap.standard_error_nats < gap.nats < 3


@pytest.mark.parametrize(
    ("name", "loss"), [*(("documented", loss) for loss in LOSSES), ("all", "gaussian")]
)
def test_under_every_likelihood_the_mean_weight_is_that_of_draws_from_the_prior(
    name: str, loss: str
) -> None:
    model, samples = random_model(name, loss=loss), 4000
    logvar = model.pixel_logvar if loss == "gaussian" else None
    target = Target(torch.rand(B, D, dtype=torch.float64), loss, logvar)
    noise = torch.randn(samples, B, T, model.config.latent_dim, dtype=torch.float64)
    with torch.no_grad():
        found = nll.sampled(model, target, [noise], (), fastest_sums)
        eps = torch.randn(200_000, 1, T, model.config.latent_dim, dtype=torch.float64)
        by_prior = -model.likelihood.nll(model.decode(0, ancestral(model, eps)[0]), target.x)
    variance = variance_of_bound(by_prior) + found["bound_variance"]
    off = (importance_bound(by_prior) - found["bound"]).abs()
    assert (off < 5 * variance.sqrt() + 0.05).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_under_every_likelihood_the_gradient_is_that_of_autograd(loss: str) -> None:
    model = random_model("documented", loss=loss)
    logvar = model.pixel_logvar.detach() if loss == "gaussian" else None
    target = Target(torch.rand(B, D, dtype=torch.float64), loss, logvar)
    z = latents(model)[0].requires_grad_()
    (expected,) = torch.autograd.grad(-log_joint(model, z, target).sum(), z)
    torch.testing.assert_close(curvature(model, z, target)[0], expected)


CASES = [(name, "bce") for name in FAMILY] + [("documented", loss) for loss in LOSSES[1:]]


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_every_metric_and_picture_is_there(name: str, loss: str, few_digits: Images) -> None:
    config = replace(member(name), input_dim=64)
    model = initial(RunConfig(config, TrainConfig(loss), DataConfig("digits")))
    found = evaluate([model], few_digits, 50, nll_images=20)
    (metrics,) = found.metrics
    for key, value in metrics.items():
        flat = np.ravel([v for v in _leaves(value) if v is not None])
        assert np.isfinite(flat.astype(float)).all(), key
    assert [len(level) for level in metrics["kl_per_unit_nats"]] == list(config.latents)
    assert metrics["elbo_nats"] <= -metrics["nll_nats"] + 1
    drawn = pictures(model, few_digits, metrics["kl_per_unit_nats"], (8, 8))
    assert drawn["samples"].shape == (16, 64)
    assert manifold(model, 3).shape == (3, 3, 64)
    assert math.isfinite(metrics["level_gain_nats"][1])


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
