"""hvae/evaluation/posterior.py: derivatives by autograd, exact posteriors, densities by torch."""

import math

import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import MultivariateNormal

from hvae.evaluation.likelihood import Target
from hvae.evaluation.posterior import (
    JointGaussian,
    by_level,
    closest_gaussian,
    curvature,
    joint,
    log_joint,
    newton,
    prior_log_densities,
)
from hvae.model import HierarchicalVAE, posterior_means

D, L, B = 12, 3, 5


def network(depth: int, loss: str = "bce", scale: float = 2.0) -> HierarchicalVAE:
    torch.manual_seed(depth)
    model = HierarchicalVAE(D, 8, L, depth, use_bce=loss == "bce").double()
    for parameter in model.parameters():
        parameter.data *= scale
    return model


def target(loss: str) -> Target:
    torch.manual_seed(1)
    x = torch.rand(B, D, dtype=torch.float64)
    return Target(x.round() if loss == "bce" else x, loss)


def energy(model: HierarchicalVAE, vectors: Tensor, given: Target) -> Tensor:
    return -log_joint(model, by_level(vectors, L), given)


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_gradient_is_that_of_autograd(depth: int, loss: str) -> None:
    model, given = network(depth, loss), target(loss)
    vectors = torch.randn(B, depth * L, dtype=torch.float64, requires_grad=True)
    energy(model, vectors, given).sum().backward()
    with torch.no_grad():
        gradient, _ = curvature(model, by_level(vectors, L), given)
    assert vectors.grad is not None
    torch.testing.assert_close(gradient, vectors.grad)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_matrix_is_the_hessian_of_a_bernoulli_model(depth: int) -> None:
    """Everywhere but on a kink, and a random point lies on none."""
    model, given = network(depth), target("bce")
    vectors = torch.randn(B, depth * L, dtype=torch.float64)
    with torch.no_grad():
        _, matrix = curvature(model, by_level(vectors, L), given)
    for image in range(B):
        one = Target(given.x[image : image + 1], "bce")

        def of_one(vector: Tensor, one: Target = one) -> Tensor:
            return energy(model, vector.unsqueeze(0), one).squeeze()

        hessian = torch.autograd.functional.hessian(of_one, vectors[image])
        torch.testing.assert_close(matrix[image], hessian)


@torch.no_grad()
@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 3])
def test_newton_never_goes_uphill(depth: int, loss: str) -> None:
    """A whole step may, from the far side of a kink: then it is damped and tried again."""
    model, given = network(depth, loss, scale=3.0), target(loss)
    start = torch.stack(posterior_means(model, given.x), dim=-2)
    last = -log_joint(model, start, given)
    for steps in range(1, 8):
        energies = -log_joint(model, newton(model, given, steps), given)
        assert (energies <= last).all()
        last = energies
    assert (last < -log_joint(model, start, given) - 0.1).any()


@torch.no_grad()
@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_of_a_linear_model_the_gaussian_is_the_posterior(depth: int, rounds: int) -> None:
    exact = LinearGaussian(depth, spread=2.0)  # encoders that are wrong
    model, images = exact.model.double(), exact.images(B)
    x = torch.tensor(images.test).double() / images.test_levels
    gaussian = closest_gaussian(model, Target(x, "mse"), rounds=rounds, scale=1.0)
    mean, covariance = exact.posterior(x)
    # 0.4³: what is left of a wrong start after three rounds of 0.6 of the way; there is none here.
    torch.testing.assert_close(gaussian.mean, mean, rtol=1e-6, atol=1e-6)
    own = (gaussian.factor @ gaussian.factor.mT).inverse()
    torch.testing.assert_close(own, covariance.expand_as(own), rtol=1e-6, atol=1e-6)
    assert gaussian.is_found.all()


def random_gaussian(depth: int) -> JointGaussian:
    torch.manual_seed(3)
    a = torch.randn(B, depth * L, depth * L, dtype=torch.float64)
    factor = torch.linalg.cholesky(a @ a.mT + torch.eye(depth * L))
    mean = torch.randn(B, depth * L, dtype=torch.float64)
    return JointGaussian(mean, factor, torch.ones(B, dtype=torch.bool))


@pytest.mark.parametrize("depth", [1, 3])
def test_densities_are_those_of_the_marginals_of_the_lower_levels(depth: int) -> None:
    gaussian, z = random_gaussian(depth), torch.randn(7, B, depth, L, dtype=torch.float64)
    covariance = (gaussian.factor @ gaussian.factor.mT).inverse()
    found = gaussian.log_density(z)
    for levels in range(1, depth + 1):
        kept = slice((depth - levels) * L, None)  # the top level comes first
        marginal = MultivariateNormal(gaussian.mean[:, kept], covariance[:, kept, kept])
        expected = marginal.log_prob(joint(z[..., :levels, :]))
        torch.testing.assert_close(found[..., levels - 1], expected)


def test_draws_have_the_mean_and_covariance() -> None:
    """Noise of ± each unit vector gives both exactly."""
    depth, gaussian = 2, random_gaussian(2)
    eye = torch.eye(depth * L, dtype=torch.float64) * math.sqrt(depth * L)
    noise = by_level(torch.cat([eye, -eye]), L).unsqueeze(1).expand(-1, B, -1, -1)
    draws = joint(gaussian.at(noise))  # [S, B, T·L]
    torch.testing.assert_close(draws.mean(0), gaussian.mean)
    centred = (draws - gaussian.mean).permute(1, 2, 0)
    covariance = centred @ centred.mT / draws.shape[0]
    torch.testing.assert_close(covariance, (gaussian.factor @ gaussian.factor.mT).inverse())


def test_the_lower_levels_of_a_draw_are_decided_by_their_own_noise() -> None:
    gaussian, noise = random_gaussian(3), torch.randn(4, B, 3, L, dtype=torch.float64)
    other = noise.clone()
    other[..., 1:, :] += 1.0
    assert torch.equal(gaussian.at(noise)[..., 0, :], gaussian.at(other)[..., 0, :])


@torch.no_grad()
def test_joint_densities_are_those_of_torch() -> None:
    model, given = network(2), target("bce")
    z = torch.randn(B, 2, L, dtype=torch.float64)
    normal, p = torch.distributions.Normal, model.decoders[0](z[:, 0])
    first = normal(model.decoders[1](z[:, 1]), 1.0).log_prob(z[:, 0]).sum(-1)
    top = normal(0.0, 1.0).log_prob(z[:, 1]).sum(-1)
    torch.testing.assert_close(prior_log_densities(model, z), torch.stack([first, top], -1))
    pixels = torch.distributions.Bernoulli(p).log_prob(given.x).sum(-1)
    torch.testing.assert_close(log_joint(model, z, given), pixels + first + top)


@torch.no_grad()
def test_where_the_search_ends_in_no_numbers_that_is_said_of_the_image_alone() -> None:
    model, given = network(2), target("bce")
    x = given.x.clone()
    x[1, 0] = math.nan
    gaussian = closest_gaussian(model, Target(x, "bce"))
    assert gaussian.is_found.tolist() == [image != 1 for image in range(B)]
    assert gaussian.mean.isfinite().all()
    assert gaussian.factor.isfinite().all()
    whole = closest_gaussian(model, given)
    assert torch.equal(gaussian.mean[2:], whole.mean[2:])


@torch.no_grad()
def test_hidden_units_in_another_order_give_the_same_gaussian() -> None:
    model, given = network(3), target("bce")
    before = closest_gaussian(model, given)
    order = torch.randperm(8)
    for part in (*model.encoders, *model.decoders):
        inner, *outer = [m for m in part.modules() if isinstance(m, torch.nn.Linear)]
        inner.weight.data, inner.bias.data = inner.weight.data[order], inner.bias.data[order]
        for layer in outer:
            layer.weight.data = layer.weight.data[:, order]
    after = closest_gaussian(model, given)
    torch.testing.assert_close(after.mean, before.mean)
    torch.testing.assert_close(after.factor, before.factor)
