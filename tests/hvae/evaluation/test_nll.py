"""The reported NLL, its errors and its certificate against models whose evidence is known."""

import math
from typing import Any

import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import MultivariateNormal

from hvae import streams
from hvae.evaluation import nll
from hvae.evaluation.densities import levels_at
from hvae.evaluation.estimators import variance_of_bound
from hvae.evaluation.importance import Aggregate, Proposal, log_weights
from hvae.evaluation.likelihood import Target, plain_sums
from hvae.evaluation.nll import certify, corrected, proposal_for, sampled, subset
from hvae.evaluation.posterior import JointGaussian, closest_gaussian
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.objectives import effective_samples, importance_bound, log_prior_ratio, stacked

B = 6
CPU = torch.device("cpu")


def images_of(exact: LinearGaussian, count: int = B) -> Target:
    images = exact.images(count)
    return Target(torch.tensor(images.test).to(exact.q.dtype) / images.test_levels, "mse")


def exact_proposal(exact: LinearGaussian, given: Target, share: float) -> Proposal:
    gaussian = closest_gaussian(exact.model, given, scale=1.0)
    return Proposal(exact.model, given, exact.model.evidence(given.x), gaussian, share)


def noise_of(exact: LinearGaussian, samples: int, images: int = B) -> Tensor:
    drawn = streams.noise("test", 0, 0, samples * images, exact.depth, exact.L)
    return drawn.reshape(samples, images, exact.depth, exact.L)


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_of_a_linear_model_every_weight_is_the_evidence(depth: int) -> None:
    """However wrong the encoders are: all samples are effective."""
    exact = LinearGaussian(depth, spread=3.0)
    given = images_of(exact)
    proposal = exact_proposal(exact, given, share=0.0)
    draws = proposal.draw(noise_of(exact, 50), 0, 50)
    weights = log_weights(proposal, draws, 50, [], plain_sums).whole
    evidence = exact.log_evidence(given.x)
    # 2e-3: float32 sums over 256 pixels of about 250 nats.
    torch.testing.assert_close(weights, evidence.expand_as(weights), rtol=0, atol=2e-3)
    torch.testing.assert_close(
        effective_samples(weights), torch.full((B,), 50.0).double(), rtol=1e-5, atol=0
    )


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_the_mixture_covers_the_evidence_within_its_error(depth: int) -> None:
    exact = LinearGaussian(depth, spread=0.5)
    given = images_of(exact)
    found = sampled(exact.model, given, [noise_of(exact, 400)], [], plain_sums)
    errors = found["bound_variance"].sqrt()
    assert (errors < 0.05).all()
    assert ((found["bound"] - exact.log_evidence(given.x)).abs() < 4 * errors + 2e-3).all()
    assert not found["is_fallback"].any()


@torch.no_grad()
def test_a_tenth_of_the_draws_comes_from_the_encoders_whatever_is_drawn_at_once() -> None:
    exact = LinearGaussian(2, spread=3.0)
    given, noise = images_of(exact), noise_of(exact, 30)
    proposal = exact_proposal(exact, given, share=0.1)
    whole = proposal.draw(noise, 0, 30).levels.z
    parts = [proposal.draw(part, 7 * i, 30).levels.z for i, part in enumerate(noise.split(7))]
    torch.testing.assert_close(torch.cat(parts), whole)
    encoded = stacked([q.z for q in exact.model.infer(proposal.evidence, noise).levels])
    torch.testing.assert_close(whole[:3], encoded[:3])
    assert not torch.isclose(whole[3:], encoded[3:]).all(-1).any()


@torch.no_grad()
def test_no_weight_is_over_ten_times_what_it_is_under_the_encoders() -> None:
    exact = LinearGaussian(2, spread=2.0)
    given = images_of(exact)
    proposal = nll.proposal_for(exact.model, given)
    drawn = proposal.draw(noise_of(exact, 20), 0, 20).levels.z
    far = proposal.at(5 * drawn)  # where the Gaussian has no mass
    encoders = proposal.encoder_log_density(far.levels)[..., -1]
    mixture = proposal.log_density(far, 20)[..., -1]
    assert (encoders - mixture <= math.log(10) + 1e-6).all()
    assert (encoders - mixture).max() > math.log(9)


@torch.no_grad()
def test_encoder_densities_are_those_of_the_log_weights_of_training() -> None:
    torch.manual_seed(0)
    model = HierarchicalVAE(12, 8, 3, 3)
    x, noise = torch.rand(B, 12), torch.randn(9, B, 3, 3)
    given = Target(x, "bce")
    latents = model.infer(model.evidence(x), noise)
    z = stacked([level.z for level in latents.levels])
    ratio = log_prior_ratio(latents, torch.ones(()))
    found = levels_at(model, model.evidence(x), z)
    density = nll.proposal_for(model, given).encoder_log_density(found)[..., -1]
    own = found.down.sum(-1) - density
    torch.testing.assert_close(own, ratio.double(), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_where_the_search_failed_the_encoders_draws_take_over() -> None:
    exact = LinearGaussian(2, spread=1.2)
    given, noise = images_of(exact), noise_of(exact, 40)
    proposal = nll.proposal_for(exact.model, given)
    lost = torch.arange(B) == 2
    gaussian = proposal.gaussian._replace(is_found=~lost)
    some = proposal._replace(gaussian=gaussian)
    only = proposal._replace(share=1.0)
    draws, expected = some.draw(noise, 0, 40), only.draw(noise, 0, 40).levels.z
    z, others = draws.levels.z, proposal.draw(noise, 0, 40).levels.z
    assert torch.equal(z[:, lost], expected[:, lost])
    assert torch.equal(z[:, ~lost], others[:, ~lost])
    density = some.log_density(draws, 40)
    assert torch.equal(density[:, lost], some.encoder_log_density(draws.levels)[:, lost])
    bound = importance_bound(log_weights(some, draws, 40, [], plain_sums).whole)
    assert (bound - exact.log_evidence(given.x)).abs().max() < 0.3


@torch.no_grad()
def test_images_that_fell_back_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = LinearGaussian(1)
    lost = torch.arange(B) < 2

    def partly(*given: Any) -> JointGaussian:
        return closest_gaussian(*given)._replace(is_found=~lost)

    monkeypatch.setattr(nll, "closest_gaussian", partly)
    found = sampled(exact.model, images_of(exact), [noise_of(exact, 20)], [], plain_sums)
    assert found["is_fallback"].tolist() == lost.tolist()


@pytest.mark.parametrize(("samples", "encoded"), [(1, 1), (5, 1), (14, 2), (70, 7), (1000, 100)])
def test_the_encoders_share_is_never_less_than_a_tenth(samples: int, encoded: int) -> None:
    exact = LinearGaussian(1)
    assert nll.proposal_for(exact.model, images_of(exact)).of_encoder(samples) == encoded


def test_the_subset_is_fixed_and_ascending_and_all_of_a_small_set() -> None:
    chosen = subset(10_000, 1000)
    assert len(chosen) == 1000
    assert torch.equal(chosen, subset(10_000, 1000))
    assert (chosen.diff() > 0).all()
    assert chosen.float().mean() == pytest.approx(5000, abs=4 * 2887 / 1000**0.5)
    assert torch.equal(subset(30, 1000), torch.arange(30))


def test_a_corrected_nll_has_the_mean_and_the_errors_that_it_states() -> None:
    """Over 2,000 choices of the subset and draws of every error."""
    torch.manual_seed(0)
    images, count, repeats = 200, 50, 2000
    truth = torch.randn(images).double() * 0.5 - 90  # the choice of the subset weighs as much
    excess = -1.0 + 0.5 * torch.randn(images).double()  # of the encoders' bound
    own, sharp = 0.3, 0.05  # Monte-Carlo errors of an image
    found, stated = [], []
    for _ in range(repeats):
        chosen = torch.randperm(images)[:count]
        bound = truth + excess + own * torch.randn(images).double()
        better = truth[chosen] + sharp * torch.randn(count).double()
        variances = (torch.full((n,), v**2).double() for n, v in ((images, own), (count, sharp)))
        each = corrected(bound, next(variances), chosen, better, next(variances))
        found.append(each.values.mean())
        stated.append(each)
    assert torch.stack(found).mean() == pytest.approx(-truth.mean().item(), abs=0.01)
    spread = torch.stack(found).std().item()
    # Of a fixed test set: the Monte-Carlo error, and the choice of the subset.
    chance = (excess.var().item() / count * (1 - count / images)) ** 0.5
    carlo = sum(each.monte_carlo_error for each in stated) / repeats
    assert math.hypot(chance, carlo) == pytest.approx(spread, rel=0.1)
    whole = sum(each.values.var().item() for each in stated) / repeats / images
    bounds = (excess.var().item() + own**2) * (1 - count / images) + sharp**2
    expected = truth.var().item() / images + bounds / count
    assert whole == pytest.approx(expected, rel=0.05)


def test_with_all_images_sampled_the_encoders_bound_does_not_matter() -> None:
    torch.manual_seed(0)
    bound, variance = torch.randn(B).double(), torch.rand(B).double()
    every = torch.arange(B)
    for few in (torch.zeros(B).double(), torch.randn(B).double()):
        each = corrected(few, torch.ones(B).double(), every, bound, variance)
        torch.testing.assert_close(each.values, -bound)
        assert each.monte_carlo_error == pytest.approx(float(variance.sum() ** 0.5) / B)


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_the_certificate_of_a_linear_model_brackets_its_evidence(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong encoders, a wide Gaussian and few draws leave a gap, and the truth lies in it."""
    exact, seen = LinearGaussian(depth, spread=4.0), []

    def remembered(log_w: Tensor) -> Tensor:
        seen.append(importance_bound(log_w))
        return seen[-1]

    images = 4000
    monkeypatch.setattr(nll, "importance_bound", remembered)
    monkeypatch.setattr(nll, "CERTIFIED_IMAGES", images)
    monkeypatch.setattr(
        nll, "closest_gaussian", lambda model, given: closest_gaussian(model, given, scale=1.5)
    )
    monkeypatch.setattr(
        nll, "proposal_for", lambda *given: proposal_for(*given)._replace(share=0.5)
    )
    gap = certify(exact.model, [noise_of(exact, 4, images)], plain_sums)
    upper, lower = seen
    target, _ = nll.drawn_images(exact.model, CPU)
    evidence = exact.log_evidence(target.x)
    for bound, sign in ((upper, 1), (lower, -1)):
        excess = sign * (bound - evidence)
        assert excess.mean() > 3 * excess.std() / images**0.5
        # More than an inequality: the mean weight of either pool is unbiased in its own direction,
        # and only so where the true latents took the place of a draw of their own component.
        ratio = (-excess).exp()
        assert abs(ratio.mean() - 1) < 3 * ratio.std() / images**0.5
    assert gap.nats == pytest.approx(float((upper - lower).mean()))
    assert 0 < gap.standard_error_nats < gap.nats / 3


@torch.no_grad()
def test_the_certificate_closes_where_the_proposal_is_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = LinearGaussian(2)
    monkeypatch.setattr(
        nll, "closest_gaussian", lambda model, given: closest_gaussian(model, given, scale=1.0)
    )
    noise = [noise_of(exact, 10, nll.CERTIFIED_IMAGES)] * 2
    assert certify(exact.model, noise, plain_sums).nats == pytest.approx(0, abs=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_images_that_a_model_draws_are_its_own(loss: str) -> None:
    torch.manual_seed(0)
    model = HierarchicalVAE(12, 8, 3, 2, use_bce=loss == "bce")
    target, z = nll.drawn_images(model, CPU)
    p = model.decoders[0](z[:, 0])
    if loss == "bce":
        assert set(target.x.unique().tolist()) == {0.0, 1.0}
    residual = target.x - p
    variance = (p * (1 - p)).mean() if loss == "bce" else torch.tensor(1.0)
    assert residual.square().mean() == pytest.approx(variance.item(), rel=0.2)
    assert z.shape == (nll.CERTIFIED_IMAGES, 2, 3)
    assert torch.equal(nll.drawn_images(model, CPU)[0].x, target.x)


def test_an_aggregate_has_the_density_of_its_gaussian() -> None:
    torch.manual_seed(0)
    a = torch.randn(3, 3).double()
    covariance = a @ a.T + torch.eye(3)
    mean, z = torch.randn(3).double(), torch.randn(4, B, 3).double()
    aggregate = Aggregate(mean, torch.linalg.cholesky(covariance))
    expected = MultivariateNormal(mean, covariance).log_prob(z)
    torch.testing.assert_close(aggregate.log_density(z), expected)


@torch.no_grad()
def test_the_stated_variance_of_a_bound_is_its_spread() -> None:
    exact = LinearGaussian(1, spread=1.5)
    given = images_of(exact, 1)
    repeated = given._replace(x=given.x.expand(300, -1))
    noise = torch.randn(100, 300, 1, 2, generator=torch.Generator().manual_seed(0))
    found = sampled(exact.model, repeated, [noise], [], plain_sums)
    ratio = found["bound_variance"].mean().sqrt() / found["bound"].std()
    assert 0.7 < ratio < 1.4
    assert variance_of_bound(torch.zeros(5, 1)).item() == pytest.approx(0)


@torch.no_grad()
def test_the_true_latents_replace_a_draw_of_the_component_that_they_may_have_come_from() -> None:
    exact = LinearGaussian(2, spread=4.0)
    proposal = exact_proposal(exact, images_of(exact), share=0.5)
    narrow = proposal.gaussian._replace(root=proposal.gaussian.root / 1000)
    proposal = proposal._replace(gaussian=narrow)
    noise = noise_of(exact, 1)
    encoded = stacked([q.z for q in exact.model.infer(proposal.evidence, noise).levels])[0]
    assert (nll._slots(proposal, encoded, 4) == 0).all()  # the first half is the encoders'
    assert (nll._slots(proposal, narrow.at(noise)[0], 4) == 3).all()
