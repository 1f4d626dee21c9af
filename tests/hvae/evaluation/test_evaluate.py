"""hvae/evaluation/evaluate.py against models whose evidence is known, references and invariants."""

import copy
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from linear_gaussian import LinearGaussian, make_affine
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from hvae import streams
from hvae.config import DataConfig
from hvae.data.images import Images, load
from hvae.evaluation import estimators
from hvae.evaluation import evaluate as evaluation
from hvae.evaluation.blocks import BLOCK_IMAGES, BLOCK_SAMPLES
from hvae.evaluation.evaluate import evaluate
from hvae.evaluation.likelihood import PixelSums, fastest_sums, plain_sums
from hvae.evaluation.nll import Gap, subset
from hvae.model.gaussians import LOG_2_PI
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.likelihoods import FIXED, bernoulli_nll
from hvae.model.networks import Encoder
from hvae.model.objectives import (
    effective_samples,
    importance_bound,
    log_prior_ratio,
)

N, D = 130, 64  # test images: a whole block and a ragged one
TRIALS = 1000

EXPECTED = {  # what a record promises its readers
    "loss_documented",
    "elbo_nats",
    "elbo_standard_error_nats",
    "elbo_test_set_error_nats",
    "nll_nats",
    "nll_standard_error_nats",
    "nll_test_set_error_nats",
    "nll_bits_per_dimension",
    "nll_images",
    "nll_fallback_images",
    "nll_gap_nats",
    "nll_gap_standard_error_nats",
    "effective_sample_size",
    "nll_encoder_nats",
    "nll_encoder_standard_error_nats",
    "nll_encoder_test_set_error_nats",
    "nll_encoder_curve_nats",
    "encoder_effective_sample_size",
    "importance_samples",
    "reconstruction_nats",
    "rate_nats",
    "kl_per_level_nats",
    "kl_per_unit_nats",
    "active_units_per_level",
    "active_units_scale_free_per_level",
    "level_gain_nats",
    "level_gain_test_set_error_nats",
    "scoreboard_nll_nats",
    "scoreboard_nll_standard_error_nats",
    "scoreboard_nll_test_set_error_nats",
    "scoreboard_fallback_images",
    "scoreboard_effective_sample_size",
    "reconstruction_mse",
    "psnr_db",
    "reconstruction_bce_nats",
    "probe_accuracy_per_level",
}
Metrics = dict[str, Any]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits() -> Images:
    """Grey digits: few training images, for the probe alone."""
    return first(load(DataConfig("digits"), Path()), N, train=60)


def first(images: Images, test: int, train: int = 60) -> Images:
    return replace(
        images,
        train=images.train[:train],
        train_labels=images.train_labels[:train],
        test=images.test[:test],
        test_labels=images.test_labels[:test],
        test_binary=images.test_binary[:test],
    )


def pixels(images: Images) -> Tensor:
    return torch.tensor(images.test).float() / images.test_levels


def network(depth: int, latent: int = 3, loss: str = "bce", scale: float = 1.5) -> HierarchicalVAE:
    """A random model; a scale above 1 makes its levels inform each other."""
    torch.manual_seed(depth)
    model = HierarchicalVAE(D, 20, latent, depth, use_bce=loss == "bce")
    for parameter in model.parameters():
        parameter.data *= scale
    return model


def metrics(
    model: HierarchicalVAE, images: Images, samples: int = 50, sums: PixelSums = plain_sums
) -> Metrics:
    return evaluate([model], images, samples, sums=sums).metrics[0]


def assert_close(left: Metrics, right: Metrics, rtol: float = 1e-5) -> None:
    """Equal up to the rounding of float32 sums over pixels."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        expected = right[name]
        if isinstance(value, dict):
            value, expected = list(value.values()), list(expected.values())
        value, expected = np.array(value, float), np.array(expected, float)  # None is NaN
        np.testing.assert_allclose(value, expected, rtol=rtol, atol=2 * rtol, err_msg=name)


@pytest.mark.parametrize("nll_images", [1000, 40])
@pytest.mark.parametrize("depth", [1, 2])
def test_with_the_exact_posterior_every_bound_is_the_evidence(depth: int, nll_images: int) -> None:
    """Of the whole test set also where the bounds by many draws are taken of some images."""
    exact, samples = LinearGaussian(depth), 4 * BLOCK_SAMPLES
    images = exact.images(N)
    evidence = exact.log_evidence(pixels(images))
    (found,) = evaluate(
        [exact.model], images, samples, sums=plain_sums, nll_images=nll_images
    ).metrics
    # 2e-3: float32 sums over 256 pixels of about 250 nats. A mean of block means is 0.1 off.
    assert found["elbo_nats"] == pytest.approx(evidence.mean().item(), abs=2e-3)
    assert_covers(found, "nll_nats", -evidence.mean().item())
    for bound in found["nll_encoder_curve_nats"].values():
        assert bound == pytest.approx(-evidence.mean().item(), abs=2e-3)
    error = evidence.std().item() / N**0.5
    for name in ("elbo", "nll_encoder"):
        assert found[f"{name}_test_set_error_nats"] == pytest.approx(error, rel=1e-3)
        assert found[f"{name}_standard_error_nats"] < 1e-4
    assert found["encoder_effective_sample_size"] == pytest.approx(samples, rel=1e-3)


def test_the_evidence_of_the_linear_model_is_that_of_a_multivariate_normal() -> None:
    exact = LinearGaussian(2)
    x, q = pixels(exact.images(3)), exact.q.double()
    covariance = torch.eye(exact.D) + exact.prior_variance * q @ q.T
    normal = MultivariateNormal(torch.full((exact.D,), 0.5).double(), covariance)
    torch.testing.assert_close(exact.log_evidence(x), normal.log_prob(x.double()))


def test_rate_and_distortion_of_the_linear_model_are_its_closed_forms() -> None:
    exact = LinearGaussian(2)
    images = exact.images(2000)
    x, a2, (v1, v2) = pixels(images), exact.a**2, exact.variances
    second = (exact.mean(x).square() + v1).sum(-1).mean().item()  # E |z_1|² under q
    (found,) = evaluate([exact.model], images, sums=plain_sums, nll_images=2).metrics
    top = 0.5 * (a2 / (1 + a2) ** 2 * second + 2 * (v2 - 1 - math.log(v2)))
    first = 0.5 * (second / (1 + a2) ** 2 + 2 * (a2 * v2 - 1 - math.log(v1)))
    # 0.02: four errors of 50,000 draws of a variance of about 1 nat².
    assert found["kl_per_level_nats"] == [
        pytest.approx(first, abs=0.02),
        pytest.approx(top, abs=0.02),
    ]
    assert found["rate_nats"] == pytest.approx(first + top, abs=0.03)
    error = (x.double() - 0.5 - exact.mean(x) @ exact.q.double().T).square().sum(-1).mean().item()
    at_the_mean = 0.5 * (error + exact.D * LOG_2_PI)
    # A draw costs ½ tr(Q V Qᵀ) more than the mean: a reconstruction at the mean is no ELBO.
    assert found["reconstruction_nats"] == pytest.approx(at_the_mean + v1, abs=0.02)
    assert found["reconstruction_mse"] == pytest.approx(error / exact.D, rel=1e-4)


def mismatched_log_weights(images: int, samples: int, spread: float) -> tuple[Tensor, Tensor]:
    """log w of TRIALS draws for a linear-Gaussian model: [S, TRIALS · N]; and its log p(x) = 0."""
    posterior = Normal(torch.linspace(-1, 1, 2 * images, dtype=torch.float64).reshape(-1, 2), 0.7)
    q = Normal(posterior.mean + 0.1, 0.7 * spread)
    z = q.sample((samples, TRIALS))
    log_w = (posterior.log_prob(z) - q.log_prob(z)).sum(-1)
    return log_w.reshape(samples, -1), -kl_divergence(q, posterior).sum(-1).mean()


@pytest.mark.parametrize("samples", [5, 100])
def test_the_95_percent_interval_of_the_elbo_covers_it_in_93_to_97_percent(samples: int) -> None:
    images = 20
    log_w, elbo = mismatched_log_weights(images, samples, spread=1.2)
    bounds = estimators.bounds(log_w)
    estimates = bounds["elbo"].reshape(TRIALS, images).mean(1)
    errors = estimators.monte_carlo_error(bounds["elbo_variance"].reshape(TRIALS, images).T)
    covered = ((estimates - elbo).abs() < 1.96 * errors).double().mean()
    assert 0.93 <= covered <= 0.97


def test_the_95_percent_interval_of_the_nll_covers_the_evidence_in_93_to_97_percent() -> None:
    """At 200 samples the bound lies 0.0002 nats below the evidence: a hundredth of its error."""
    images, samples = 10, 200
    log_w, _ = mismatched_log_weights(images, samples, spread=1.2)
    bounds = estimators.bounds(log_w)
    estimates = bounds[f"bound_{samples}"].reshape(TRIALS, images).mean(1)
    errors = estimators.monte_carlo_error(bounds["bound_variance"].reshape(TRIALS, images).T)
    covered = (estimates.abs() < 1.96 * errors).double().mean()  # log p(x) is 0
    assert 0.93 <= covered <= 0.97


def error_of(name: str) -> str:
    """The metric that states the Monte-Carlo error of a metric."""
    return f"{name.removesuffix('_nats')}_standard_error_nats"


def assert_covers(found: Metrics, name: str, exact: float) -> None:
    """Within four of its stated errors, and 1e-3 for float32 and what the bound falls short by."""
    error = found[error_of(name)]
    assert 0 < error < 0.05
    assert found[name] == pytest.approx(exact, abs=4 * error + 1e-3)


@pytest.mark.parametrize(("depth", "spread"), [(1, 1.5), (2, 0.8)])
def test_the_importance_weighted_nll_covers_the_evidence(depth: int, spread: float) -> None:
    exact = LinearGaussian(depth, spread)
    images = exact.images(400)
    evidence = exact.log_evidence(pixels(images)).mean().item()
    found = metrics(exact.model, images, 100)
    excess = exact.L * 0.5 * (spread - 1 - math.log(spread)) * depth  # KL(q ‖ posterior)
    error = found["elbo_standard_error_nats"]
    assert found["elbo_nats"] == pytest.approx(evidence - excess, abs=4 * error)
    assert_covers(found, "nll_nats", -evidence)
    assert excess > 10 * error  # the two claims differ


def quadrature(model: HierarchicalVAE, x: Tensor, loss: str) -> float:
    """Mean of -log p(x) over images by a grid over the two scalar levels."""
    grid = torch.linspace(-9, 9, 721, dtype=torch.float64).unsqueeze(-1)
    step = math.log(18 / 720)
    model = model.double()
    upper = Normal(0.0, 1.0).log_prob(grid).T  # [1, z_2]
    given = Normal(model.decode(1, grid).T, 1.0).log_prob(grid)  # [z_1, z_2]
    prior = (given + upper).logsumexp(1) + step
    likelihood = -FIXED[loss].nll(model.decode(0, grid).unsqueeze(1), x.double())
    evidence = (likelihood + prior.unsqueeze(-1)).logsumexp(0) + step
    model.float()
    return -evidence.mean().item()


@torch.no_grad()
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_nll_and_scoreboard_of_a_nonlinear_hierarchy_are_those_of_quadrature(
    loss: str, digits: Images
) -> None:
    model, images = network(2, latent=1, loss=loss, scale=2.0), first(digits, 30)
    found = metrics(model, images, 1000)
    assert_covers(found, "nll_nats", quadrature(model, pixels(images), loss))
    binary = torch.tensor(images.test_binary).float()
    assert_covers(found, "scoreboard_nll_nats", quadrature(model, binary, "bce"))


def model_as(model: HierarchicalVAE, loss: str) -> HierarchicalVAE:
    """The same weights under another likelihood."""
    sizes = model.config
    other = HierarchicalVAE(
        sizes.input_dim, sizes.hidden_dim, sizes.latent_dim, sizes.num_layers, loss == "bce"
    )
    other.load_state_dict(model.state_dict())
    return other


def test_the_scoreboard_is_the_same_yardstick_for_both_likelihoods(digits: Images) -> None:
    bce = network(2)
    mse = model_as(bce, "mse")
    boards = [m["scoreboard_nll_nats"] for m in evaluate([bce, mse], digits, 20).metrics]
    assert boards[0] == pytest.approx(boards[1], rel=1e-7)
    found = metrics(bce, digits, 20)
    assert found["scoreboard_nll_nats"] != pytest.approx(found["nll_nats"], abs=0.1)
    assert found["scoreboard_effective_sample_size"] != found["effective_sample_size"]
    assert found["scoreboard_fallback_images"] == 0
    binary = replace(digits, test=digits.test_binary, test_levels=1)
    own = metrics(bce, binary, 20)
    assert own["scoreboard_nll_nats"] == own["nll_nats"]
    assert own["scoreboard_nll_test_set_error_nats"] == own["nll_test_set_error_nats"]
    assert own["scoreboard_effective_sample_size"] == own["effective_sample_size"]


@torch.no_grad()
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_one_level_is_a_plain_vae(loss: str, digits: Images) -> None:
    images = first(digits, 40)
    model, x = network(1, loss=loss), pixels(images)
    w = {name: value.double() for name, value in model.state_dict().items()}
    eps = streams.noise("evaluation", 0, 0, BLOCK_SAMPLES * 40, 1, 3).reshape(-1, 40, 3).double()
    x = x.double()

    def linear(name: str, value: Tensor) -> Tensor:
        return F.linear(value, w[f"{name}.weight"], w[f"{name}.bias"])

    h = linear("encoders.0.linear", x).relu()
    mu, logvar = linear("encoders.0.linear_mu", h), linear("encoders.0.linear_logvar", h)
    z = mu + eps * (0.5 * logvar).exp()
    p = linear("decoders.0.linear_2", linear("decoders.0.linear_1", z).relu()).sigmoid()
    if loss == "bce":
        nll = -(x * p.log() + (1 - x) * (1 - p).log()).sum(-1)
        documented = nll
    else:
        documented = (x - p).square().sum(-1)
        nll = 0.5 * documented + 32 * math.log(2 * math.pi)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
    log_w = 0.5 * (eps.square() - z.square() + logvar).sum(-1) - nll
    found = metrics(model, images, BLOCK_SAMPLES)
    expected = {
        "reconstruction_nats": nll.mean(),
        "rate_nats": kl.sum(-1).mean(),
        "loss_documented": documented.mean() + 2 * kl.sum(-1).mean(),
        "elbo_nats": log_w.mean(),
        "elbo_standard_error_nats": (log_w.var(0).sum() / BLOCK_SAMPLES).sqrt() / 40,
        "elbo_test_set_error_nats": log_w.mean(0).std() / 40**0.5,
        "nll_encoder_nats": -log_w.exp().mean(0).log().mean(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), rel=2e-5), name
    np.testing.assert_allclose(found["kl_per_unit_nats"], kl.mean(0).unsqueeze(0), rtol=1e-4)


def encoder_log_weights(
    model: HierarchicalVAE, x: Tensor, purpose: str, start: int, parts: int
) -> Tensor:
    """Of one block of images, by the noise of so many of its parts: [S, B]."""
    sizes = (BLOCK_SAMPLES * len(x), model.config.num_layers, model.config.latent_dim)
    drawn = [streams.noise(purpose, start, BLOCK_SAMPLES * i, *sizes) for i in range(parts)]
    noise = torch.cat([part.reshape(-1, len(x), *sizes[1:]) for part in drawn])
    result = model(x, noise)
    nll = model.likelihood.nll(result.logits, x)
    return (log_prior_ratio(result, torch.ones(())) - nll).double()


@torch.no_grad()
@pytest.mark.parametrize("nll_images", [1000, 30])
def test_bounds_by_many_draws_are_those_of_the_subset_carried_over(
    nll_images: int, digits: Images
) -> None:
    """By the bound of few draws of all images; with the subset the whole, they stand alone."""
    model, x, chosen = network(2), pixels(digits), subset(N, nll_images)
    few = torch.cat(
        [
            importance_bound(encoder_log_weights(model, part, "evaluation", 100 * i, 1))
            for i, part in enumerate(x.split(BLOCK_IMAGES))
        ]
    )
    blocks = enumerate(x[chosen].split(BLOCK_IMAGES))
    log_w = torch.cat(
        [encoder_log_weights(model, part, "nll", 100 * i, 5) for i, part in blocks], dim=1
    )[:110]  # four whole parts and some of a fifth
    few[chosen] = torch.stack(
        [importance_bound(log_w[25 * i : 25 * (i + 1)]) for i in range(4)]
    ).mean(0)
    (found,) = evaluate([model], digits, 110, sums=plain_sums, nll_images=nll_images).metrics
    for size, draws in (("100", log_w[:100]), ("110", log_w)):
        correction = (importance_bound(draws) - few[chosen]).mean()
        expected = -(few.mean() + correction).item()
        assert found["nll_encoder_curve_nats"][size] == pytest.approx(expected, rel=1e-6)
    effective = effective_samples(log_w).mean().item()
    assert found["encoder_effective_sample_size"] == pytest.approx(effective, rel=1e-4)
    if nll_images > N:
        assert found["nll_encoder_nats"] == pytest.approx(-importance_bound(log_w).mean().item())


def test_metrics_do_not_depend_on_what_takes_the_sums_over_pixels(digits: Images) -> None:
    for model in (network(3), network(2, loss="mse")):
        expected = metrics(model, digits, 30)
        for sums in (fastest_sums, *(partial(plain_sums, at_once=n) for n in (7, 1000))):
            assert_close(metrics(model, digits, 30, sums), expected)


def test_metrics_do_not_depend_on_which_models_are_evaluated_together(digits: Images) -> None:
    models = [network(1, latent=2), network(3, latent=5, loss="mse"), network(2, latent=8)]
    together = evaluate(models, digits, 20).metrics
    assert len({found["nll_nats"] for found in together}) == 3
    for model, found in zip(models, together, strict=True):
        assert_close(metrics(model, digits, 20), found)


@pytest.mark.cuda
@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_a_gpu_measures_what_a_cpu_measures(binarize: str) -> None:
    """It takes more images and draws at once, of the same noise, but for that of the proposal: how
    even the weights are depends on it, and by 60 draws what a level gains does by 0.02 nats; what
    the weights say does not."""
    images = first(load(DataConfig("digits", binarize), Path()), N, train=1100)
    models = [network(1, latent=2), network(3, latent=5, loss="mse"), network(2, latent=8)]
    expected = evaluate(copy.deepcopy(models), images, 60).metrics
    for found, own in zip(evaluate(models, images, 60, "cuda").metrics, expected, strict=True):
        sizes = {name for name in own if "effective" in name}
        assert {name: found.pop(name) for name in sizes} == pytest.approx(
            {name: own.pop(name) for name in sizes}, rel=0.05
        )
        gains = [metrics.pop("level_gain_nats")[1:] for metrics in (found, own)]
        assert gains[0] == pytest.approx(gains[1], abs=0.05)
        assert_close(found, own, rtol=1e-3)


def test_a_block_has_the_same_noise_whatever_follows_it(digits: Images) -> None:
    model, tail = network(2), N - BLOCK_IMAGES
    whole, block = metrics(model, digits, 20), metrics(model, first(digits, BLOCK_IMAGES), 20)
    with torch.no_grad():
        x = pixels(digits)[BLOCK_IMAGES:]
        noise = streams.noise("evaluation", BLOCK_IMAGES, 0, BLOCK_SAMPLES * tail, 2, 3)
        result = model(x, noise.reshape(BLOCK_SAMPLES, tail, 2, 3)[:20])
        rest = bernoulli_nll(result.logits, x).mean().item()
    joined = (BLOCK_IMAGES * block["reconstruction_nats"] + tail * rest) / N
    assert whole["reconstruction_nats"] == pytest.approx(joined, rel=1e-6)


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_bounds_are_ordered_and_parts_add_up(depth: int, loss: str, digits: Images) -> None:
    found = metrics(network(depth, loss=loss), digits, 100)
    curve = found["nll_encoder_curve_nats"]
    assert list(curve) == ["1", "10", "100"]
    assert curve["1"] == pytest.approx(-found["elbo_nats"], rel=1e-12)
    assert curve["100"] == found["nll_encoder_nats"]
    error = math.hypot(*(found[error_of(name)] for name in ("nll_nats", "nll_encoder_nats")))
    assert found["nll_encoder_nats"] > found["nll_nats"] - 4 * error
    assert curve["1"] > curve["10"] > curve["100"]  # sure where each size divides the next
    assert 1 < found["effective_sample_size"] < 100
    assert found["rate_nats"] == pytest.approx(sum(found["kl_per_level_nats"]))
    units = [sum(level) for level in found["kl_per_unit_nats"]]
    assert units == pytest.approx(found["kl_per_level_nats"])
    # Two estimates of one expectation: closed forms, and the sampled entropies in log w.
    parts = found["reconstruction_nats"] + found["rate_nats"]
    assert parts == pytest.approx(-found["elbo_nats"], abs=5 * found["elbo_standard_error_nats"])


def test_the_curve_ends_at_the_samples_asked_for(digits: Images) -> None:
    model, few = network(2), first(digits, 10)
    for samples, sizes in ((2, ["1", "2"]), (25, ["1", "10", "25"]), (100, ["1", "10", "100"])):
        found = metrics(model, few, samples)
        assert list(found["nll_encoder_curve_nats"]) == sizes
        assert found["nll_encoder_nats"] == found["nll_encoder_curve_nats"][sizes[-1]]
        assert found["importance_samples"] == samples


def test_units_are_active_where_their_mean_varies_over_images() -> None:
    model = HierarchicalVAE(4, 4, 3)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        model.get_parameter("encoders.0.linear.weight").copy_(torch.eye(4))
        mu = model.get_parameter("encoders.0.linear_mu.weight")
        mu[0, 0], mu[1, 0] = 0.21, 0.19  # of a pixel that is 0 or 1: variances 0.0111 and 0.0091
        mu[2, 1] = 5.0  # of a pixel that never changes
        model.get_parameter("encoders.1.linear_logvar.bias").copy_(torch.tensor([-4.0, 3.0, 0.0]))
    test = np.tile(np.array([[0, 1, 0, 1], [1, 1, 0, 1]], np.uint8), (50, 1))
    labels = test[:, 0].copy()
    images = Images(test, labels, 1, test, labels, 1, test, "")
    found = metrics(model, images, 10)
    assert found["active_units_per_level"] == [1, 0]
    assert found["active_units_scale_free_per_level"] == [1, 0]


def test_a_unit_that_copies_only_noise_is_not_active_however_few_the_samples() -> None:
    """Its E_q[z] is 0 for every image; the noise left in a mean of S draws is not variation."""
    model = HierarchicalVAE(4, 2, 1)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    encoder = model.encoders[1]
    assert isinstance(encoder, Encoder)
    make_affine(encoder.linear, encoder.linear_mu, torch.ones(1, 1), torch.zeros(1))
    test = np.eye(4, dtype=np.uint8).repeat(50, 0)
    labels = test[:, 0].copy()
    images = Images(test, labels, 1, test, labels, 1, test, "")
    assert metrics(model, images, 20)["active_units_per_level"] == [0, 0]


def test_reconstruction_errors_are_those_at_the_posterior_mean(digits: Images) -> None:
    model, x = network(2), pixels(digits)
    found = metrics(model, digits, 5)
    with torch.no_grad():
        p = model.decoders[0](model.encoders[0](x)[0]).double()
    mse = (x - p).square().mean().item()
    assert found["reconstruction_mse"] == pytest.approx(mse, rel=1e-6)
    assert found["psnr_db"] == pytest.approx(10 * math.log10(1 / mse), rel=1e-6)
    bce = F.binary_cross_entropy(p, x.double(), reduction="sum").item() / N
    assert found["reconstruction_bce_nats"] == pytest.approx(bce, rel=1e-6)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_metrics_are_plain_finite_numbers_of_every_name(loss: str, digits: Images) -> None:
    found = metrics(network(3, loss=loss), digits, 20)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    levels = [name for name in found if name.endswith(("per_level", "per_level_nats"))]
    levels += ["level_gain_nats", "level_gain_test_set_error_nats", "kl_per_unit_nats"]
    assert {len(found[name]) for name in levels} == {3}
    assert len(levels) == 7
    assert found.keys() >= EXPECTED


def test_evaluation_repeats_itself_and_leaves_the_global_generator_alone(digits: Images) -> None:
    model, before = network(2), torch.get_rng_state()
    once = metrics(model, digits, 10)
    assert metrics(model, digits, 10) == once
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("step", [1, -1])
def test_a_block_that_happens_to_be_binary_is_one_of_grey_images(step: int, digits: Images) -> None:
    few = first(digits, N)
    grey = few.test.copy()
    grey[:BLOCK_IMAGES] = few.test_binary[:BLOCK_IMAGES] * few.test_levels
    order = np.arange(N)[::step].copy()
    mixed = replace(few, test=grey[order], test_binary=few.test_binary[order])
    found = metrics(network(2), mixed, 10)
    assert found["scoreboard_nll_nats"] != found["nll_nats"]


def test_one_importance_sample_has_no_monte_carlo_error(digits: Images) -> None:
    found = metrics(network(2), first(digits, 20), 1)
    assert math.isnan(found["elbo_standard_error_nats"])
    assert math.isnan(found["nll_standard_error_nats"])
    assert math.isnan(found["nll_encoder_standard_error_nats"])
    assert found["nll_encoder_nats"] == -found["elbo_nats"]


def test_a_perfect_reconstruction_has_no_psnr_and_the_record_says_why(digits: Images) -> None:
    model, few = network(2), first(digits, 20)
    with torch.no_grad():
        model.pixel_decoder.linear_2.weight.zero_()
        model.pixel_decoder.linear_2.bias.fill_(-200.0)  # its sigmoid is 0 in float32
    black = replace(few, test=few.test * 0, test_binary=few.test_binary * 0)
    found = metrics(model, black, 10)
    assert found["reconstruction_mse"] == 0.0
    assert found["left_out"] == {"psnr_db": "every pixel is reconstructed exactly"}
    assert EXPECTED - found.keys() == {"psnr_db"}


def test_images_of_one_class_have_no_probe_and_the_record_says_why(digits: Images) -> None:
    few = first(digits, 20)
    found = metrics(network(2), replace(few, train_labels=few.train_labels * 0 + 3), 10)
    assert found["left_out"] == {"probe_accuracy_per_level": "the training images are of one class"}
    assert "probe_accuracy_per_level" not in found


def test_one_test_image_has_no_test_set_error(digits: Images) -> None:
    found = metrics(network(2), first(digits, 1), 10)
    assert math.isnan(found["elbo_test_set_error_nats"])
    assert math.isfinite(found["nll_nats"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_diverged_in_its_last_step_has_no_finite_elbo_and_stops_no_other(
    bad: float, digits: Images
) -> None:
    """Its history, computed before each step, is finite, so that it reaches the evaluation."""
    broken, sound = network(2), network(2)
    broken.get_parameter("encoders.0.linear_mu.bias").data[0] = bad
    images = first(digits, 20)
    found = evaluate([broken, sound], images, 10).metrics
    assert not math.isfinite(found[0]["elbo_nats"])
    assert [each["nll_fallback_images"] for each in found] == [20, 0]
    assert [each["scoreboard_fallback_images"] for each in found] == [20, 0]
    assert_close(found[1], metrics(sound, images, 10))


@pytest.mark.parametrize(("depth", "nll_images"), [(1, 1000), (3, 10)])
def test_the_stated_errors_are_the_spread_over_repeated_draws(
    depth: int, nll_images: int, monkeypatch: pytest.MonkeyPatch, digits: Images
) -> None:
    """Of the NLL also where half of the images take over what the others correct."""
    images, model, noise = first(digits, 20), network(depth), streams.noise
    names = ["elbo_nats", "nll_nats", "scoreboard_nll_nats", "nll_encoder_nats"]
    monkeypatch.setattr(evaluation, "probe_accuracies", lambda model, images: [])
    monkeypatch.setattr(evaluation, "certify", lambda *given: Gap(0.0, 0.0))
    values, errors = [], []
    for draw in range(60):

        def redrawn(purpose: str, *numbers: int, name: str = f"draw {draw}") -> Tensor:
            return noise(f"{name} {purpose}", *numbers)

        monkeypatch.setattr(streams, "noise", redrawn)
        found = evaluate([model], images, 60, nll_images=nll_images).metrics[0]
        values.append([found[name] for name in names])
        errors.append([found[error_of(name)] for name in names])
    spread = np.std(values, axis=0, ddof=1)
    stated = np.sqrt(np.square(errors).mean(0))
    # The spread of 60 draws is known to 1 / √120 = 9 %: four of its errors.
    np.testing.assert_allclose(stated / spread, 1.0, atol=0.37)


def test_the_nll_by_image_has_the_metrics_for_its_mean_and_its_error(digits: Images) -> None:
    found = evaluate([network(2, loss="mse")], digits, 30, nll_images=40)
    (metrics,), (arrays,) = found.metrics, found.nlls
    assert metrics["nll_images"] == 40
    for name in ("nll_nats", "scoreboard_nll_nats"):
        assert arrays[name].shape == (N,)
        assert arrays[name].mean() == pytest.approx(metrics[name], rel=1e-6)
        error = arrays[name].std(ddof=1) / N**0.5
        stated = metrics[f"{name.removesuffix('_nats')}_test_set_error_nats"]
        assert error == pytest.approx(stated, rel=1e-5)


def test_bits_per_dimension_are_nats_by_pixels_and_log_2(digits: Images) -> None:
    found = metrics(network(1), digits, 10)
    assert found["nll_bits_per_dimension"] == pytest.approx(found["nll_nats"] / D / math.log(2))
