"""Densities by level: what step.c finds is what the formulas of the model give."""

import pytest
import torch
from families import FAMILY, random_model
from torch import Tensor
from torch.distributions import Normal

from hvae.evaluation import densities
from hvae.evaluation.densities import encoded, levels_at, log_prior, own_units
from hvae.model.gaussians import Gaussian, Prior
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.inference import priors
from hvae.model.objectives import log_prior_ratio, stacked
from hvae.native.build import c_compiler

S, B, D, L = 7, 9, 12, 5  # rows: two whole panels of step.c and a ragged one, and more
SIZES = [(1, 8, 3), (2, 8, 1), (3, 20, 5), (4, 101, 20)]


def network(depth: int, hidden: int, latent: int, dtype: torch.dtype) -> HierarchicalVAE:
    torch.manual_seed(depth)
    return HierarchicalVAE(D, hidden, latent, depth).to(dtype)


def images() -> Tensor:
    return torch.rand(B, D, dtype=torch.float64)


@pytest.fixture(params=["library", "formulas"])
def _by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "formulas":
        monkeypatch.setattr(densities, "library", lambda is_double: None)
    elif c_compiler() is None:
        pytest.skip("needs a C compiler, such as cc")
    else:
        monkeypatch.setattr(densities, "own_units", lambda *given: pytest.fail("no library"))


def normal(given: Prior) -> Normal:
    is_wide = isinstance(given, Gaussian)
    return Normal(given.mu, (0.5 * given.logvar).exp() if is_wide else 1.0)


@torch.no_grad()
@pytest.mark.usefixtures("_by")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("depth", "hidden", "latent"), SIZES)
def test_densities_are_those_of_torch(
    depth: int, hidden: int, latent: int, dtype: torch.dtype
) -> None:
    model = network(depth, hidden, latent, dtype)
    z, evidence = (
        3 * torch.randn(S, B, depth, latent, dtype=dtype),
        model.evidence(images().to(dtype)),
    )
    found = levels_at(model, evidence, z)
    assert torch.equal(found.down, log_prior(model, z))
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {}
    for t in range(depth):
        own = z[..., t, :]
        mean = model.decode(t + 1, z[..., t + 1, :]) if t < depth - 1 else torch.zeros(latent)
        expected = Normal(mean, 1.0).log_prob(own).sum(-1).double()
        torch.testing.assert_close(found.down[..., t], expected, **tolerance)
        q = model.posterior(t, z[..., t - 1, :]) if t else evidence[0]
        expected = normal(q).log_prob(own).sum(-1).double()
        torch.testing.assert_close(found.up[..., t], expected, **tolerance)
    assert torch.equal(found.z, z)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_densities_of_the_family_are_those_of_torch(name: str) -> None:
    torch.manual_seed(0)
    model = random_model(name)
    evidence = model.evidence(images())
    z = torch.randn(S, B, 3, model.config.latent_dim).double()
    levels = own_units(model, z)
    found = levels_at(model, evidence, z)
    posteriors = model.inference.posteriors(model, evidence, levels)
    for t, (own, q, prior) in enumerate(
        zip(levels, posteriors, priors(model, levels), strict=True)
    ):
        assert own.shape[-1] == model.config.latents[t]
        torch.testing.assert_close(found.up[..., t], normal(q).log_prob(own).sum(-1))
        torch.testing.assert_close(found.down[..., t], normal(prior).log_prob(own).sum(-1))


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_the_ratio_of_a_draws_densities_is_that_of_training(name: str) -> None:
    torch.manual_seed(0)
    model = random_model(name)
    noise, evidence = (
        torch.randn(S, B, 3, model.config.latent_dim).double(),
        model.evidence(images()),
    )
    latents = model.infer(evidence, noise)
    found = encoded(model, evidence, noise)
    torch.testing.assert_close(found.z, stacked([level.z for level in latents.levels]))
    ratio = log_prior_ratio(latents, torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(found.down.sum(-1) - found.up.sum(-1), ratio)


@torch.no_grad()
@pytest.mark.usefixtures("_by")
@pytest.mark.parametrize(("depth", "hidden", "latent"), SIZES)
def test_draws_are_those_of_the_encoders_with_their_densities(
    depth: int, hidden: int, latent: int
) -> None:
    model = network(depth, hidden, latent, torch.float64)
    noise, evidence = torch.randn(S, B, depth, latent).double(), model.evidence(images())
    before = noise.clone()
    found = encoded(model, evidence, noise)
    expected = stacked([level.z for level in model.infer(evidence, noise).levels])
    torch.testing.assert_close(found.z, expected)
    for own, other in zip(found, levels_at(model, evidence, expected), strict=True):
        torch.testing.assert_close(own, other)
    assert torch.equal(noise, before)


def test_gradients_flow_through_the_densities() -> None:
    model = network(3, 8, L, torch.float64)
    z = torch.randn(S, B, 3, L, dtype=torch.float64, requires_grad=True)
    evidence = [Gaussian(*(part.detach()[:1] for part in model.evidence(images())[0]))]

    def total(z: Tensor) -> Tensor:
        found = levels_at(model, evidence, z)
        return found.down.sum() + found.up.sum()

    assert torch.autograd.gradcheck(total, (z[:1, :1].detach().requires_grad_(),))
