"""hvae/model/inference.py: what the encoders infer, in either direction."""

import pytest
import torch
from families import FAMILY, random_model
from torch import Tensor

from hvae.model.gaussians import Gaussian
from hvae.model.objectives import closed_form_kl, joint_kl

B, D = 6, 12
LIVE = torch.ones((), dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images() -> Tensor:
    return torch.rand(B, D, dtype=torch.float64)


def noise(depth: int, latent: int, samples: int = 1) -> Tensor:
    return torch.randn(samples, B, depth, latent, dtype=torch.float64)


@pytest.mark.parametrize("variance", ["learned variance", "documented"])
def test_one_level_is_the_same_from_the_bottom_and_from_the_top(variance: str) -> None:
    upward = random_model(variance, 1)
    downward = random_model("both" if variance == "learned variance" else "top-down", 1)
    downward.load_state_dict(upward.state_dict())
    x, eps = images(), noise(1, 3)[0]
    one, other = upward(x, eps), downward(x, eps)
    for mine, theirs in zip(one.levels[0], other.levels[0], strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(one.logits, other.logits)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_the_posteriors_of_a_draw_are_those_it_was_drawn_from(name: str) -> None:
    model = random_model(name)
    evidence = model.evidence(images())
    latents = model.infer(evidence, noise(3, model.config.latent_dim))
    z = [level.z for level in latents.levels]
    for level, q in zip(
        latents.levels, model.inference.posteriors(model, evidence, z), strict=True
    ):
        torch.testing.assert_close(q.mu.expand_as(level.mu), level.mu)
        torch.testing.assert_close(q.logvar.expand_as(level.logvar), level.logvar)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILY)
def test_the_means_are_a_draw_without_noise(name: str) -> None:
    model, x = random_model(name), images()
    latents = model.infer(model.evidence(x), torch.zeros(B, 3, model.config.latent_dim).double())
    for mean, level in zip(model.inference.means(model, x), latents.levels, strict=True):
        torch.testing.assert_close(mean, level.z)


@torch.no_grad()
def test_top_down_each_level_is_the_prior_times_what_the_upward_pass_says() -> None:
    model, x = random_model("both"), images()
    latents = model.infer(model.evidence(x), noise(3, 3)[0])
    below, upward = x, []
    for t in range(3):  # each encoder sees the mean of the one below
        upward.append(model.posterior(t, below))
        below = upward[-1].mu
    assert torch.equal(latents.levels[2].mu, upward[2].mu)
    for t in (0, 1):
        prior = model.prior(t + 1, latents.levels[t + 1].z)
        assert isinstance(prior, Gaussian)
        precisions = [part.logvar.neg().exp() for part in (prior, upward[t])]
        mean = (prior.mu * precisions[0] + upward[t].mu * precisions[1]) / sum(precisions)
        torch.testing.assert_close(latents.levels[t].mu, mean)
        torch.testing.assert_close(latents.levels[t].logvar.exp(), 1 / sum(precisions))


@torch.no_grad()
@pytest.mark.parametrize("name", ["top-down", "both"])
def test_top_down_the_closed_form_is_the_joint_kl_in_expectation(name: str) -> None:
    """Each level's posterior given those above it is the one it is compared with: no covariance is
    dropped, as it is from the bottom up."""
    model = random_model(name)
    latents = model.infer(model.evidence(images()), noise(3, 3, 50_000))
    gap = closed_form_kl(latents) - joint_kl(latents, LIVE)  # [S, B, T]
    error = gap.std(0) / len(gap) ** 0.5
    assert (gap.mean(0).abs() < 5 * error + 1e-12).all()
    documented = random_model("documented")
    latents = documented.infer(documented.evidence(images()), noise(3, 3, 50_000))
    gap = closed_form_kl(latents) - joint_kl(latents, LIVE)
    assert (gap.mean(0).abs() > 5 * gap.std(0) / len(gap) ** 0.5).any()
