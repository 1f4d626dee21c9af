"""Densities by level: what step.c finds is what the formulas of the model give."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from hvae.evaluation import densities
from hvae.evaluation.densities import encoded, levels_at, log_density
from hvae.model import Gaussian, HierarchicalVAE
from hvae.native.build import c_compiler

S, B, D, L = 7, 9, 12, 5  # rows: two whole panels of step.c and a ragged one, and more
SIZES = [(1, 8, 3), (2, 8, 1), (3, 20, 5), (4, 101, 20)]


def network(depth: int, hidden: int, latent: int, dtype: torch.dtype) -> HierarchicalVAE:
    torch.manual_seed(depth)
    return HierarchicalVAE(D, hidden, latent, depth).to(dtype)


@pytest.fixture(params=["library", "formulas"])
def _by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "formulas":
        monkeypatch.setattr(densities, "library", lambda is_double: None)
    elif c_compiler() is None:
        pytest.skip("needs a C compiler, such as cc")
    else:
        monkeypatch.setattr(densities, "_plain_squares", lambda *given: pytest.fail("no library"))


@torch.no_grad()
@pytest.mark.usefixtures("_by")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("depth", "hidden", "latent"), SIZES)
def test_densities_are_those_of_torch(
    depth: int, hidden: int, latent: int, dtype: torch.dtype
) -> None:
    model = network(depth, hidden, latent, dtype)
    z = 3 * torch.randn(S, B, depth, latent, dtype=dtype)
    found = levels_at(model, z)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {}
    for t in range(depth):
        mean = model.decode(t + 1, z[..., t + 1, :]) if t < depth - 1 else torch.zeros(latent)
        expected = Normal(mean, 1.0).log_prob(z[..., t, :]).sum(-1).double()
        torch.testing.assert_close(found.down[..., t], expected, **tolerance)
        if t:
            mu, logvar = model.posterior(t, z[..., t - 1, :])
            expected = Normal(mu, (0.5 * logvar).exp()).log_prob(z[..., t, :]).sum(-1).double()
            torch.testing.assert_close(found.up[..., t - 1], expected, **tolerance)
    assert found.up.shape == (S, B, depth - 1)
    assert torch.equal(found.z, z)


@torch.no_grad()
@pytest.mark.usefixtures("_by")
@pytest.mark.parametrize(("depth", "hidden", "latent"), SIZES)
def test_draws_are_those_of_the_encoders_with_their_densities(
    depth: int, hidden: int, latent: int
) -> None:
    model = network(depth, hidden, latent, torch.float64)
    noise, first = (
        torch.randn(S, B, depth, latent).double(),
        model.posterior(0, torch.rand(B, D).double()),
    )
    before = noise.clone()
    found = encoded(model, first, noise)
    expected = torch.stack([level.z for level in model.infer(first, noise)], dim=-2)
    torch.testing.assert_close(found.z, expected)
    for own, other in zip(found, levels_at(model, expected), strict=True):
        torch.testing.assert_close(own, other)
    assert torch.equal(noise, before)


def test_gradients_flow_through_the_densities() -> None:
    model = network(3, 8, L, torch.float64)
    z = torch.randn(S, B, 3, L, dtype=torch.float64, requires_grad=True)

    def total(z: Tensor) -> Tensor:
        return levels_at(model, z).down.sum() + levels_at(model, z).up.sum()

    assert torch.autograd.gradcheck(total, (z[:1, :1].detach().requires_grad_(),))


def test_the_density_of_a_diagonal_gaussian_is_that_of_torch() -> None:
    mu, logvar, z = torch.randn(3, B, L, dtype=torch.float64)
    expected = Normal(mu, (0.5 * logvar).exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(log_density(z, Gaussian(mu, logvar)), expected)
