"""hvae/model/likelihoods.py against torch.distributions, numerical integration, autograd, draws."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal

from hvae.model.likelihoods import (
    FIXED,
    SMALL,
    LearnedVariance,
    Likelihood,
    continuous_mean,
    continuous_variance,
    likelihood,
    log_partition,
    mean_logits,
)

B, D = 5, 8
NAMES = [*FIXED, "gaussian"]
# Of both signs, on both sides of where series take over, none, and beyond what exp can hold.
LOGITS = torch.tensor(
    [0.0, 1e-12, 1e-4, SMALL * 0.999, SMALL * 1.001, 0.5, 3.0, 20.0, 800.0], dtype=torch.float64
)
LOGITS = torch.cat([-LOGITS.flip(0), LOGITS])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def of(name: str) -> Likelihood:
    return likelihood(name, torch.tensor(-1.3, dtype=torch.float64))


def logits() -> Tensor:
    return 2 * torch.randn(B, D, dtype=torch.float64)


def images(name: str) -> Tensor:
    grey = torch.rand(B, D, dtype=torch.float64)
    return (grey < 0.5).double() if name in ("bce", "mean") else grey


@pytest.mark.parametrize("name", NAMES)
def test_the_nll_is_that_of_torch_with_all_constants(name: str) -> None:
    given, x = logits(), images(name)
    p, continuous = given.sigmoid(), ContinuousBernoulli(logits=given)
    expected = {
        "bce": Bernoulli(p),
        "mse": Normal(p, 1.0),
        "gaussian": Normal(p, torch.tensor(-1.3, dtype=torch.float64).mul(0.5).exp()),
        "continuous-bernoulli": continuous,
        "mean": Bernoulli(continuous.mean),
    }[name]
    found = of(name).nll(given, x)
    torch.testing.assert_close(found, -expected.log_prob(x).sum(-1), rtol=1e-6, atol=1e-6)


def test_the_documented_loss_leaves_out_the_half_and_the_constant_of_unit_variance_alone() -> None:
    given, x = logits(), images("mse")
    error = (given.sigmoid() - x).square().sum(-1)
    torch.testing.assert_close(of("mse").documented(given, x), error)
    for name in set(NAMES) - {"mse"}:
        assert torch.equal(of(name).documented(given, x), of(name).nll(given, x))


@pytest.mark.parametrize("name", ["mse", "gaussian", "continuous-bernoulli"])
def test_a_density_integrates_to_one(name: str) -> None:
    given = logits()[0, :1]
    low, high = (0.0, 1.0) if name == "continuous-bernoulli" else (-9.0, 10.0)
    x = torch.linspace(low, high, 200_001, dtype=torch.float64).unsqueeze(-1)
    density = (-of(name).nll(given.expand_as(x), x)).exp()
    assert float(torch.trapezoid(density, x.squeeze(-1))) == pytest.approx(1.0, abs=1e-6)


def test_the_constant_of_the_continuous_bernoulli_and_its_moments_are_integrals() -> None:
    u = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    for logit in LOGITS[LOGITS.abs() < 100]:
        weight = (u * logit - logit.relu()).exp()
        whole = torch.trapezoid(weight, u)
        mean = torch.trapezoid(weight * u, u) / whole
        variance = torch.trapezoid(weight * (u - mean).square(), u) / whole
        given = logit.reshape(1)
        torch.testing.assert_close(log_partition(given)[0], whole.log() + logit.relu())
        torch.testing.assert_close(continuous_mean(given)[0], mean, rtol=1e-7, atol=0)
        torch.testing.assert_close(continuous_variance(given)[0], variance, rtol=1e-6, atol=0)


def test_no_logit_is_too_large() -> None:
    for values in (
        log_partition(LOGITS),
        continuous_mean(LOGITS),
        continuous_variance(LOGITS),
        mean_logits(LOGITS),
    ):
        assert values.isfinite().all()
    given = LOGITS.clone().requires_grad_()
    log_partition(given).sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    torch.testing.assert_close(given.grad, continuous_mean(LOGITS), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(mean_logits(LOGITS).sigmoid(), continuous_mean(LOGITS))


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_the_derivative_and_an_expected_curvature(name: str) -> None:
    given, x = logits().requires_grad_(), images(name)
    derivative, weight = of(name).slopes(given, x)
    (expected,) = torch.autograd.grad(of(name).nll(given, x).sum(), given)
    torch.testing.assert_close(derivative, expected)
    generator = torch.Generator().manual_seed(0)
    one = given.detach()[0]
    drawn = of(name).draw(one.expand(200_000, D), generator)
    scores, _ = of(name).slopes(one, drawn)
    error = scores.square().std(0) / len(scores) ** 0.5
    assert ((scores.square().mean(0) - weight[0]).abs() < 5 * error + 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_mean(name: str) -> None:
    given, generator = logits()[0], torch.Generator().manual_seed(0)
    given[0], given[1] = 0.0, 30.0
    drawn = of(name).draw(given.expand(100_000, D), generator)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - of(name).mean(given)).abs() < 5 * error + 1e-12).all()
    if name == "continuous-bernoulli":
        assert ((drawn >= 0) & (drawn <= 1)).all()
        spread = drawn.var(0)
        torch.testing.assert_close(spread, continuous_variance(given), rtol=0.03, atol=0)


def test_the_best_variance_is_the_mean_squared_error() -> None:
    given, x = logits(), images("gaussian")
    error = (given.sigmoid() - x).square().mean()
    logvar = error.log().requires_grad_()
    LearnedVariance(logvar).nll(given, x).sum().backward()  # type: ignore[no-untyped-call]
    assert logvar.grad is not None
    assert abs(float(logvar.grad)) < 1e-9
