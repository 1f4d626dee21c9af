"""hvae/model/gaussians.py against torch.distributions, draws, and closed forms."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from hvae.model.gaussians import Gaussian, Prior, UnitGaussian, log_density

B, L = 9, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def gaussian() -> Gaussian:
    return Gaussian(*torch.randn(2, B, L, dtype=torch.float64))


def priors() -> list[Prior]:
    return [gaussian(), UnitGaussian(torch.randn(B, L, dtype=torch.float64))]


def normal(given: Prior) -> Normal:
    return Normal(given.mu, given.logvar.mul(0.5).exp() if isinstance(given, Gaussian) else 1.0)


@pytest.mark.parametrize("prior", [0, 1], ids=["learned", "unit"])
def test_the_kl_is_that_of_torch_and_of_draws(prior: int) -> None:
    p, q = priors()[prior], gaussian()
    kl = p.kl_from(*q)
    torch.testing.assert_close(kl, kl_divergence(normal(q), normal(p)))
    z = normal(q).sample((100_000,))
    ratio = normal(q).log_prob(z) - normal(p).log_prob(z)
    error = ratio.std(0) / len(ratio) ** 0.5
    assert ((ratio.mean(0) - kl).abs() < 5 * error).all()


@pytest.mark.parametrize("prior", [0, 1], ids=["learned", "unit"])
def test_the_density_is_that_of_torch(prior: int) -> None:
    p, z = priors()[prior], torch.randn(3, B, L, dtype=torch.float64)
    torch.testing.assert_close(log_density(z, p), normal(p).log_prob(z).sum(-1))
    noise = torch.randn(3, B, L, dtype=torch.float64)
    torch.testing.assert_close((p.draw(noise) - normal(p).mean) / normal(p).stddev, noise)


@pytest.mark.parametrize("prior", [0, 1], ids=["learned", "unit"])
def test_a_merge_adds_precisions_and_weighs_means_by_them(prior: int) -> None:
    p, q = priors()[prior], gaussian()
    of_p, of_q = normal(p).variance.reciprocal(), q.logvar.neg().exp()
    merged = p.merged(q)
    torch.testing.assert_close(merged.logvar.exp(), 1 / (of_p + of_q))
    torch.testing.assert_close(merged.mu, (p.mu * of_p + q.mu * of_q) / (of_p + of_q))


def test_a_unit_gaussian_is_one_of_variance_one() -> None:
    mu, (q, _) = torch.randn(B, L, dtype=torch.float64), priors()
    assert isinstance(q, Gaussian)
    unit, wide = UnitGaussian(mu), Gaussian(mu, torch.zeros_like(mu))
    z = torch.randn(B, L, dtype=torch.float64)
    pairs: list[tuple[Tensor, Tensor]] = [
        (unit.deviance(z), wide.deviance(z)),
        (unit.draw(z), wide.draw(z)),
        (unit.kl_from(*q), wide.kl_from(*q)),
        *zip(unit.merged(q), wide.merged(q), strict=True),
    ]
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_merging_with_what_says_nothing_changes_nothing() -> None:
    for p in priors():
        vague = Gaussian(torch.randn(B, L).double(), torch.full((B, L), 700.0).double())
        merged = p.merged(vague)
        assert torch.equal(merged.mu, p.mu)
        torch.testing.assert_close(merged.logvar.exp(), normal(p).variance.expand(B, L))
