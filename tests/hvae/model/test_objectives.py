"""hvae/model/objectives.py: closed forms, torch.distributions, and sums over sigma points.

Noise of ±1 in every combination has the first three moments of N(0, I), so a mean over these
points is the exact expectation of anything quadratic: no Monte Carlo, no tolerance for it.
"""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from hvae.model.gaussians import LOG_2_PI, Prior, UnitGaussian
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.likelihoods import FIXED, bernoulli_nll
from hvae.model.objectives import (
    Level,
    Pass,
    Settings,
    closed_form_kl,
    documented_loss,
    effective_samples,
    importance_bound,
    joint_kl,
    joint_kl_per_unit,
    log_prior_ratio,
    objective,
)

LOSSES = ("bce", "mse")
D, L, B = 12, 2, 7
ALL_LIVE = torch.ones(L, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def sigma_points(layers: int) -> Tensor:
    """[2^(T·L), 1, T, L], for B images at once by broadcasting."""
    points = list(product((-1.0, 1.0), repeat=layers * L))
    return torch.tensor(points, dtype=torch.float64).reshape(-1, 1, layers, L)


def images() -> Tensor:
    return torch.rand(B, D, dtype=torch.float64)


def network(depth: int, loss: str = "bce") -> HierarchicalVAE:
    return HierarchicalVAE(D, 10, L, depth, use_bce=loss == "bce").double()


def settings(weight: float = 1.0, floor: float = -math.inf) -> Settings:
    kl_weight, kl_floor = torch.tensor([weight, floor], dtype=torch.float64)
    return Settings(kl_weight, kl_floor, ALL_LIVE)


def log_weights(result: Pass, x: Tensor, loss: str) -> Tensor:
    """log p(x, z) - log q(z | x) by torch.distributions: [S, B]."""
    mean = result.logits.sigmoid()
    if loss == "bce":
        total = Bernoulli(mean, validate_args=False).log_prob(x).sum(-1)
    else:
        total = Normal(mean, 1.0).log_prob(x).sum(-1)
    for level, (prior_mean,) in zip(result.levels, result.priors, strict=True):
        q = Normal(level.mu, (level.logvar / 2).exp())
        total = total + (Normal(prior_mean, 1.0).log_prob(level.z) - q.log_prob(level.z)).sum(-1)
    return total


def test_kl_is_zero_for_equal_gaussians_and_positive_otherwise() -> None:
    mean = torch.randn(50, dtype=torch.float64)
    assert torch.equal(UnitGaussian(mean).kl_from(mean, torch.zeros(50)), torch.zeros(50).double())
    assert (UnitGaussian(mean + 0.1).kl_from(mean, torch.zeros(50)) > 0).all()
    assert (UnitGaussian(mean).kl_from(mean, torch.full((50,), 0.1)) > 0).all()
    assert (UnitGaussian(mean).kl_from(mean, torch.full((50,), -0.1)) > 0).all()


@pytest.mark.parametrize("logit", [-800.0, -50.0, 50.0, 800.0])
def test_a_saturated_logit_has_its_exact_likelihood(logit: float) -> None:
    logits = torch.tensor([logit])
    for pixel in (0.0, 1.0):
        wrong = (logit > 0) != (pixel > 0.5)
        value = bernoulli_nll(logits, torch.tensor([pixel])).item()
        assert value == pytest.approx(abs(logit) if wrong else 0.0, abs=1e-20)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_the_documented_loss_of_one_level_really_is(loss: str) -> None:
    x, noise = images(), torch.randn(B, 1, L, dtype=torch.float64)
    result = network(1, loss)(x, noise)
    documented = documented_loss(result, x, loss)
    nll, kl = FIXED[loss].nll(result.logits, x), joint_kl(result, ALL_LIVE).sum(-1)
    if loss == "mse":  # twice the negative ELBO but for a constant
        torch.testing.assert_close(documented, 2 * (nll + kl) - D * LOG_2_PI)
    else:  # a beta-VAE with beta = 2
        torch.testing.assert_close(documented, nll + 2 * kl)
        beta = objective("elbo", loss, result, x, settings(weight=2.0)).loss
        torch.testing.assert_close(documented.mean(), beta)


class TwoLevels:
    """q(z_1) = N(m, s²), q(z_2 | z_1) = N(C z_1, r²), p(z_1 | z_2) = N(A z_2, I), x ~ N(Wz + ½, I).

    The pixel head is a sigmoid; its logits are those of the linear mean.
    """

    def __init__(self) -> None:
        def drawn(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=torch.float64)

        self.m, self.s2, self.r2 = drawn(L), drawn(L).exp(), drawn(L).exp()
        self.a, self.c, self.w = drawn(L, L), drawn(L, L), drawn(D, L) * 0.01

    def passes(self) -> Pass:
        first, second = sigma_points(2).unbind(-2)
        z1 = self.m + self.s2.sqrt() * first
        mu2 = z1 @ self.c.T
        z2 = mu2 + self.r2.sqrt() * second
        levels = [
            Level(self.m.expand_as(z1), self.s2.log().expand_as(z1), z1),
            Level(mu2, self.r2.log().expand_as(z1), z2),
        ]
        priors: list[Prior] = [UnitGaussian(z2 @ self.a.T), UnitGaussian(torch.zeros_like(z2))]
        return Pass(levels, priors, (0.5 + z1 @ self.w.T).logit())

    def elbo(self, x: Tensor) -> Tensor:
        """E log p(x, z) + H(q), by means and covariances: scalar."""
        s, r = torch.diag(self.s2), torch.diag(self.r2)
        mean2, cov2 = self.c @ self.m, self.c @ s @ self.c.T + r
        gap = torch.eye(L, dtype=torch.float64) - self.a @ self.c  # z_1 - A z_2, but for A r
        pixels = (x - 0.5 - self.w @ self.m).square().sum() + (self.w @ s @ self.w.T).trace()
        first = (self.m - self.a @ mean2).square().sum() + (
            gap @ s @ gap.T + self.a @ r @ self.a.T
        ).trace()
        second = mean2.square().sum() + cov2.trace()
        entropy = 0.5 * (2 * L * (1 + LOG_2_PI) + self.s2.log().sum() + self.r2.log().sum())
        return entropy - 0.5 * (pixels + first + second + (D + 2 * L) * LOG_2_PI)

    def covariance_term(self) -> Tensor:
        """tr Cov(z_1, A z_2) under q."""
        return (torch.diag(self.s2) @ self.c.T @ self.a.T).trace()


def test_the_joint_elbo_of_two_linear_levels_is_its_closed_form() -> None:
    model, x = TwoLevels(), images()[:1]
    result = model.passes()
    nll = FIXED["mse"].nll(result.logits, x).mean()
    elbo = -nll - joint_kl(result, ALL_LIVE).sum(-1).mean()
    torch.testing.assert_close(elbo, model.elbo(x[0]))
    torch.testing.assert_close(log_weights(result, x, "mse").mean(), model.elbo(x[0]))


def test_the_documented_kl_misses_the_joint_one_by_the_covariance_term() -> None:
    model = TwoLevels()
    result = model.passes()
    documented = closed_form_kl(result).mean((0, 1))
    joint = joint_kl(result, ALL_LIVE).mean((0, 1))
    assert abs(model.covariance_term()) > 0.1
    torch.testing.assert_close(documented[0] - joint[0], model.covariance_term())
    torch.testing.assert_close(documented[1], joint[1])  # the top level has a fixed prior


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_log_prior_ratio_is_that_of_torch_distributions(depth: int) -> None:
    x, noise = images(), torch.randn(5, B, depth, L, dtype=torch.float64)
    for loss in LOSSES:
        bits = (x > 0.5).double() if loss == "bce" else x
        result = network(depth, loss)(bits, noise)
        ours = log_prior_ratio(result, ALL_LIVE) - FIXED[loss].nll(result.logits, bits)
        torch.testing.assert_close(ours, log_weights(result, bits, loss))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_elbo_objective_is_minus_the_expected_log_weight(depth: int, loss: str) -> None:
    noise = sigma_points(depth)
    x = images()[:1]
    result = network(depth, loss)(x, noise)
    log_w = log_prior_ratio(result, ALL_LIVE) - FIXED[loss].nll(result.logits, x)
    flat = network_pass_as_batch(result)
    terms = objective("elbo", loss, flat, x.expand(len(noise), D), settings())
    torch.testing.assert_close(terms.loss, -log_w.mean())
    torch.testing.assert_close(terms.loss, terms.reconstruction + terms.kl.sum())


def network_pass_as_batch(result: Pass) -> Pass:
    """Samples of one image [S, 1, ...] as a batch [S, ...]."""
    levels = [Level(*(value.squeeze(1) for value in level)) for level in result.levels]
    return Pass(
        levels, [UnitGaussian(p.mu.squeeze(1)) for p in result.priors], result.logits.squeeze(1)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_iwae_with_one_sample_is_the_pure_sample_elbo(loss: str) -> None:
    x = images()
    result = network(2, loss)(x, torch.randn(1, B, 2, L, dtype=torch.float64))
    terms = objective("iwae", loss, result, x, settings())
    log_w = log_prior_ratio(result, ALL_LIVE) - FIXED[loss].nll(result.logits, x)
    torch.testing.assert_close(terms.loss, -log_w.mean())
    torch.testing.assert_close(terms.kl, joint_kl(result, ALL_LIVE).mean((0, 1)))


def test_iwae_with_samples_is_the_mean_bound_of_the_images() -> None:
    x = images()
    result = network(2)(x, torch.randn(20, B, 2, L, dtype=torch.float64))
    log_w = log_prior_ratio(result, ALL_LIVE) - FIXED["bce"].nll(result.logits, x)
    terms = objective("iwae", "bce", result, x, settings())
    torch.testing.assert_close(terms.loss, -log_w.exp().mean(0).log().mean())


def test_kl_weight_scales_the_kl_alone() -> None:
    x, noise = images(), torch.randn(B, 3, L, dtype=torch.float64)
    result = network(3)(x, noise)
    for name, factor in (("documented", 2.0), ("elbo", 1.0)):
        for weight in (0.0, 0.3, 1.0, 4.0):
            terms = objective(name, "bce", result, x, settings(weight))
            expected = terms.reconstruction + factor * weight * terms.kl.sum()
            torch.testing.assert_close(terms.loss, expected)
        plain = objective(name, "bce", result, x, settings())
        assert torch.equal(terms.kl, plain.kl)  # reported without the weight
    documented = objective("documented", "bce", result, x, settings()).loss
    torch.testing.assert_close(documented, documented_loss(result, x, "bce").mean())


@pytest.mark.parametrize(("name", "factor"), [("documented", 2.0), ("elbo", 1.0)])
def test_free_bits_cost_the_floor_and_stop_the_gradient_below_it(name: str, factor: float) -> None:
    x = images()
    mu = torch.tensor([0.1, 2.0], dtype=torch.float64, requires_grad=True)
    variance = torch.zeros(B, L, dtype=torch.float64)
    levels = [Level(m.expand(B, L), variance, m.expand(B, L) + 1.0) for m in mu]
    zeros = torch.zeros(B, L, dtype=torch.float64)
    result = Pass(levels, [UnitGaussian(zeros)] * 2, torch.zeros(B, D, dtype=torch.float64))
    terms = objective(name, "bce", result, x, settings(weight=0.5, floor=1.0))
    assert terms.kl[0] < 1.0 < terms.kl[1]
    torch.testing.assert_close(
        terms.loss, terms.reconstruction + factor * 0.5 * (1.0 + terms.kl[1])
    )
    terms.loss.backward()
    assert mu.grad is not None
    assert mu.grad[0] == 0.0
    assert mu.grad[1] > 0.0


def test_free_bits_are_counted_after_the_mean_over_the_batch() -> None:
    mu = torch.tensor([0.0, 2.0], dtype=torch.float64).reshape(2, 1).expand(2, L)
    zeros = torch.zeros(2, L, dtype=torch.float64)
    result = Pass(
        [Level(mu, zeros, mu)], [UnitGaussian(zeros)], torch.zeros(2, D, dtype=torch.float64)
    )
    terms = objective("elbo", "bce", result, images()[:2], settings(floor=1.0))
    # KL of 0 and 4 nats, 2 on average: above the floor, which must not lift the first image.
    torch.testing.assert_close(terms.loss - terms.reconstruction, torch.tensor(2.0).double())


def test_padding_changes_no_term_and_gets_no_gradient() -> None:
    x = images()
    result = network(2)(x, torch.randn(4, B, 2, L, dtype=torch.float64))
    padding = torch.zeros(4, B, 3, dtype=torch.float64, requires_grad=True)

    def pad(value: Tensor) -> Tensor:
        return torch.cat([value, padding], dim=-1)

    levels = [Level(*(pad(value) for value in level)) for level in result.levels]
    padded = Pass(levels, [UnitGaussian(pad(prior.mu)) for prior in result.priors], result.logits)
    live = torch.tensor([1.0] * L + [0.0] * 3, dtype=torch.float64)
    for ours, wide in (
        (joint_kl(result, ALL_LIVE), joint_kl(padded, live)),
        (log_prior_ratio(result, ALL_LIVE), log_prior_ratio(padded, live)),
        (closed_form_kl(result), closed_form_kl(padded)),
    ):
        torch.testing.assert_close(ours, wide)
        (gradient,) = torch.autograd.grad(wide.sum(), padding, retain_graph=True)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_kl_per_unit_adds_up_to_the_kl_of_the_level() -> None:
    result = network(3)(images(), torch.randn(4, B, 3, L, dtype=torch.float64))
    per_unit = joint_kl_per_unit(result, ALL_LIVE)
    assert per_unit.shape == (4, B, 3, L)
    torch.testing.assert_close(per_unit.sum(-1), joint_kl(result, ALL_LIVE))


def test_the_bound_of_one_sample_is_its_log_weight() -> None:
    log_w = torch.randn(1, B, dtype=torch.float64)
    torch.testing.assert_close(importance_bound(log_w), log_w[0])


def test_the_bound_is_the_log_of_the_mean_weight() -> None:
    log_w = torch.randn(9, B, dtype=torch.float64)
    torch.testing.assert_close(importance_bound(log_w), log_w.exp().mean(0).log())


def test_the_expected_bound_rises_with_the_samples_towards_the_evidence() -> None:
    """log w is 0 or 3 with equal chance: all outcomes of S draws, so the expectation is exact."""
    expected = []
    for samples in (1, 2, 3, 4, 8, 12):
        outcomes = torch.tensor(list(product((0.0, 3.0), repeat=samples)), dtype=torch.float64)
        expected.append(importance_bound(outcomes.T).mean().item())
    assert expected[0] == pytest.approx(1.5)
    assert expected[1] == pytest.approx((3 + 2 * math.log((1 + math.exp(3)) / 2)) / 4)
    assert expected == sorted(expected)
    assert expected[-1] < math.log((1 + math.exp(3)) / 2)


def test_weights_of_minus_100_000_nats_do_not_underflow() -> None:
    log_w = torch.randn(50, B, dtype=torch.float64)
    # float64 resolves 1e-11 nats there.
    shifted = importance_bound(log_w - 1e5) + 1e5
    torch.testing.assert_close(shifted, importance_bound(log_w), rtol=0, atol=1e-9)
    shifted = effective_samples(log_w - 1e5)
    torch.testing.assert_close(shifted, effective_samples(log_w), rtol=1e-8, atol=0)


@pytest.mark.parametrize("offset", [0.0, -1e5, 1e5])
def test_effective_samples_are_all_for_equal_weights_and_one_for_a_dominating_one(
    offset: float,
) -> None:
    log_w = torch.full((40, 2), offset, dtype=torch.float64)
    log_w[3, 1] += 200.0
    expected = torch.tensor([40.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(effective_samples(log_w), expected, rtol=1e-8, atol=0)


def test_effective_samples_are_the_ratio_of_sums() -> None:
    weights = torch.rand(30, B, dtype=torch.float64)
    expected = weights.sum(0) ** 2 / weights.square().sum(0)
    torch.testing.assert_close(effective_samples(weights.log()), expected)
