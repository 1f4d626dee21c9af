"""hvae/evaluation/posterior.py: derivatives by autograd, exact posteriors, densities by torch."""

import math

import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import MultivariateNormal

from hvae.evaluation.densities import log_prior
from hvae.evaluation.likelihood import Target
from hvae.evaluation.posterior import (
    JointGaussian,
    Precision,
    closest_gaussian,
    curvature,
    gaussian_with,
    log_joint,
    newton,
)
from hvae.model.hierarchy import HierarchicalVAE, posterior_means

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


def by_level(vectors: Tensor) -> Tensor:
    return vectors.unflatten(-1, (-1, L))


def whole(precision: Precision) -> Tensor:
    """Of all levels as one vector, the lowest first: [B, T·L, T·L]."""
    images, depth, latent, _ = precision.own.shape
    matrix = torch.zeros(images, depth, latent, depth, latent, dtype=precision.own.dtype)
    for t in range(depth):
        matrix[:, t, :, t] = precision.own[:, t]
        if t:
            matrix[:, t - 1, :, t] = precision.above[:, t - 1]
            matrix[:, t, :, t - 1] = precision.above[:, t - 1].mT
    return matrix.flatten(3).flatten(1, 2)


def energy(model: HierarchicalVAE, vectors: Tensor, given: Target) -> Tensor:
    return -log_joint(model, by_level(vectors), given)


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_gradient_is_that_of_autograd(depth: int, loss: str) -> None:
    model, given = network(depth, loss), target(loss)
    vectors = torch.randn(B, depth * L, dtype=torch.float64, requires_grad=True)
    energy(model, vectors, given).sum().backward()
    with torch.no_grad():
        gradient, _ = curvature(model, by_level(vectors), given)
    assert vectors.grad is not None
    torch.testing.assert_close(gradient.flatten(1), vectors.grad)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_matrix_is_the_hessian_of_a_bernoulli_model(depth: int) -> None:
    """Everywhere but on a kink, and a random point lies on none."""
    model, given = network(depth), target("bce")
    vectors = torch.randn(B, depth * L, dtype=torch.float64)
    with torch.no_grad():
        matrix = whole(curvature(model, by_level(vectors), given)[1])
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
    order = (
        torch.arange(depth * exact.L).reshape(depth, -1).flip(0).flatten()
    )  # there the top first
    torch.testing.assert_close(gaussian.mean.flatten(1), mean[:, order], rtol=1e-6, atol=1e-6)
    own = covariance_of(gaussian)
    expected = covariance[order][:, order].expand_as(own)
    torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-6)
    assert gaussian.is_found.all()


def covariance_of(gaussian: JointGaussian) -> Tensor:
    """Column by column: [B, T·L, T·L]."""
    depth, latent = gaussian.mean.shape[1:]
    columns = torch.eye(depth * latent).to(gaussian.mean).reshape(-1, depth, latent)
    moved = [gaussian.times_covariance(column.expand_as(gaussian.mean)) for column in columns]
    return torch.stack([each.flatten(1) for each in moved], dim=-1)


def random_precision(depth: int) -> Precision:
    torch.manual_seed(3)
    a = torch.randn(B, depth, L, L, dtype=torch.float64)
    above = 0.3 * torch.randn(B, depth - 1, L, L, dtype=torch.float64)
    return Precision(a @ a.mT + 2 * torch.eye(L), above)


def random_gaussian(depth: int) -> JointGaussian:
    gaussian = gaussian_with(torch.randn(B, depth, L, dtype=torch.float64), random_precision(depth))
    assert gaussian.is_found.all()
    return gaussian


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_gaussian_has_the_precision_that_it_is_made_of(depth: int) -> None:
    expected = whole(random_precision(depth)).inverse()
    torch.testing.assert_close(covariance_of(random_gaussian(depth)), expected)


def test_a_precision_that_is_not_positive_gives_no_numbers_for_its_image_alone() -> None:
    own, above = random_precision(3)
    own[1, 1] -= 20 * torch.eye(L)
    gaussian = gaussian_with(torch.zeros(B, 3, L, dtype=torch.float64), Precision(own, above))
    assert gaussian.is_found.tolist() == [image != 1 for image in range(B)]
    moved = gaussian.times_covariance(torch.ones(B, 3, L, dtype=torch.float64))
    assert moved.isnan().flatten(1).any(1).tolist() == [image == 1 for image in range(B)]


@pytest.mark.parametrize("depth", [1, 3])
def test_densities_are_those_of_the_marginals_of_the_lower_levels(depth: int) -> None:
    gaussian, z = random_gaussian(depth), torch.randn(7, B, depth, L, dtype=torch.float64)
    covariance = covariance_of(gaussian)
    found = gaussian.log_density(gaussian.noise_of(z))
    for levels in range(1, depth + 1):
        kept = slice(levels * L)
        mean = gaussian.mean.flatten(1)[:, kept]
        marginal = MultivariateNormal(mean, covariance[:, kept, kept])
        expected = marginal.log_prob(z[..., :levels, :].flatten(-2))
        torch.testing.assert_close(found[..., levels - 1], expected)


def test_draws_have_the_mean_and_covariance_and_give_back_their_noise() -> None:
    """Noise of ± each unit vector gives both exactly."""
    depth, gaussian = 2, random_gaussian(2)
    eye = torch.eye(depth * L, dtype=torch.float64) * math.sqrt(depth * L)
    noise = by_level(torch.cat([eye, -eye])).unsqueeze(1).expand(-1, B, -1, -1)
    z = gaussian.at(noise)
    torch.testing.assert_close(gaussian.noise_of(z), noise)
    draws, mean = z.flatten(-2), gaussian.mean.flatten(1)  # [S, B, T·L]
    torch.testing.assert_close(draws.mean(0), mean)
    centred = (draws - mean).permute(1, 2, 0)
    covariance = centred @ centred.mT / draws.shape[0]
    torch.testing.assert_close(covariance, covariance_of(gaussian))


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
    torch.testing.assert_close(log_prior(model, z), torch.stack([first, top], -1))
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
    assert gaussian.root.isfinite().all()
    assert gaussian.gain.isfinite().all()
    all_found = closest_gaussian(model, given)
    assert torch.equal(gaussian.mean[2:], all_found.mean[2:])


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
    torch.testing.assert_close(covariance_of(after), covariance_of(before))
