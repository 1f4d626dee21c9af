"""Values of levels: exact moments, slow references by torch.distributions, and dead levels."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

from hvae import streams
from hvae.config import DataConfig
from hvae.data.images import Images, load
from hvae.evaluation import evaluate as evaluation
from hvae.evaluation.evaluate import BLOCK_SAMPLES, VALUE_SAMPLES, evaluate
from hvae.evaluation.levels import PRIOR_SAMPLES, prior_likelihood, value_gaps
from hvae.model import Decoder, Encoder, HierarchicalVAE, ancestral

D, L, N = 64, 2, 30


@pytest.fixture(scope="module")
def digits() -> Images:
    images = load(DataConfig("digits"), Path())
    return replace(
        images,
        train=images.train[:60],
        train_labels=images.train_labels[:60],
        test=images.test[:N],
        test_labels=images.test_labels[:N],
        test_binary=images.test_binary[:N],
    )


def pixels(images: Images) -> Tensor:
    return torch.tensor(images.test).float() / images.test_levels


def network(depth: int, loss: str = "bce") -> HierarchicalVAE:
    """A random model whose levels inform each other."""
    torch.manual_seed(depth)
    model = HierarchicalVAE(D, 20, L, depth, use_bce=loss == "bce")
    for parameter in model.parameters():
        parameter.data *= 1.6
    return model


def without_level(model: HierarchicalVAE, level: int) -> HierarchicalVAE:
    """Its encoder replaced by N(0, I), the prior of the top level."""
    encoder = model.encoders[level]
    assert isinstance(encoder, Encoder)
    for parameter in (*encoder.linear_mu.parameters(), *encoder.linear_logvar.parameters()):
        nn.init.zeros_(parameter)
    return model


def set_linear(inner: nn.Linear, outer: nn.Linear, weight: Tensor) -> None:
    """outer(relu(inner(z))) = weight z, by relu(y) - relu(-y) = y."""
    eye = torch.eye(len(weight), dtype=weight.dtype)
    inner.weight.data = torch.cat([weight, -weight])
    outer.weight.data = torch.cat([eye, -eye], dim=1)
    nn.init.zeros_(inner.bias)
    nn.init.zeros_(outer.bias)


def make_linear(decoder: nn.Module, weight: Tensor) -> None:
    """decoder(z) = weight z."""
    assert isinstance(decoder, Decoder)
    set_linear(decoder.linear_1, decoder.linear_2, weight)


def test_ancestral_samples_have_the_moments_of_the_prior() -> None:
    """Noise of ±1 in every combination gives mean and covariance of linear levels exactly."""
    torch.manual_seed(0)
    model = HierarchicalVAE(D, 2 * L, L, 3).double()
    a, b = torch.randn(2, L, L, dtype=torch.float64)  # z_1 ~ N(a z_2, I), z_2 ~ N(b z_3, I)
    make_linear(model.decoders[1], a)
    make_linear(model.decoders[2], b)
    points = list(product((-1.0, 1.0), repeat=3 * L))
    noise = torch.tensor(points, dtype=torch.float64).reshape(-1, 3, L)
    levels = ancestral(model, noise)
    eye = torch.eye(L, dtype=torch.float64)
    covariances = [eye + a @ (eye + b @ b.T) @ a.T, eye + b @ b.T, eye]
    for z, covariance in zip(levels, covariances, strict=True):
        torch.testing.assert_close(z.T @ z / len(z), covariance)
        torch.testing.assert_close(z.mean(0), torch.zeros(L, dtype=torch.float64))
    torch.testing.assert_close(levels[0].T @ levels[2] / len(noise), a @ b)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_ancestral_samples_go_down_through_the_decoders(depth: int) -> None:
    model, noise = network(depth), torch.randn(5, 6, depth, L)
    levels = ancestral(model, noise)
    assert torch.equal(levels[-1], noise[..., -1, :])
    for t in range(depth - 1):
        torch.testing.assert_close(
            levels[t], model.decoders[t + 1](levels[t + 1]) + noise[..., t, :]
        )


@torch.no_grad()
@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 3])
def test_prior_likelihood_is_the_mean_over_draws_of_the_prior(depth: int, loss: str) -> None:
    model, x = network(depth, loss).double(), torch.rand(N, D, dtype=torch.float64)
    model_noise = streams.noise("ancestral", 0, 0, PRIOR_SAMPLES, depth, L)
    p = model.decoders[0](ancestral(model, model_noise.double())[0]).unsqueeze(1)  # [s, 1, D]
    if loss == "bce":
        x = x.round()
    pixel = Bernoulli(p) if loss == "bce" else Normal(p, 1.0)
    per_draw = pixel.log_prob(x).sum(-1)  # [s, N]
    model.float()
    value, error = prior_likelihood(model, x, loss)
    # 1e-5: the model runs in float32.
    torch.testing.assert_close(value, per_draw.mean(0), rtol=1e-5, atol=1e-5)
    expected = per_draw.mean(1).std() / PRIOR_SAMPLES**0.5  # all images share the draws
    assert error == pytest.approx(expected.item(), rel=1e-4)


@torch.no_grad()
def bound(model: HierarchicalVAE, x: Tensor, first_from_prior: int, samples: int) -> Tensor:
    """The bound whose levels `first_from_prior`…T are drawn from p, written out: [S, N]."""
    z, log_w, drawn = x.expand(samples, *x.shape), torch.zeros(samples, len(x)), []
    for encoder in model.encoders[: first_from_prior - 1]:
        q = Normal(*encoder(z))
        z = q.sample()
        drawn.append(z)
        log_w -= q.log_prob(z).sum(-1)
    depth = model.config.num_layers
    above = torch.randn(samples, len(x), L) if first_from_prior <= depth else None
    for t in range(depth - 1, first_from_prior - 1, -1):
        assert above is not None
        above = Normal(model.decoders[t](above), 1.0).sample()
    for t in range(first_from_prior - 1, 0, -1):  # z_t given what lies above it
        zeros = torch.zeros_like(drawn[t - 1])
        mean = zeros if above is None else model.decoders[t](above)
        log_w += Normal(mean, 1.0).log_prob(drawn[t - 1]).sum(-1)
        above = drawn[t - 1]
    p = model.decoders[0](above)
    pixel = Bernoulli(p, validate_args=False) if model.loss == "bce" else Normal(p, 1.0)
    return log_w + pixel.log_prob(x).sum(-1)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Over images, from samples [S, N]."""
    values = values.double()
    return values.mean().item(), ((values.var(0) / len(values)).sum().sqrt() / N).item()


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_level_values_are_differences_of_bounds_drawn_apart(
    depth: int, loss: str, digits: Images
) -> None:
    model = network(depth, loss)
    found = evaluate([model], digits, 200).metrics[0]
    elbo, elbo_error = mean_and_error(bound(model, pixels(digits), depth + 1, 1000))
    for t in range(1, depth + 1):
        lower, lower_error = mean_and_error(bound(model, pixels(digits), t, 1000))
        own = found["level_value_standard_error_nats"][t - 1]
        error = (elbo_error**2 + lower_error**2 + own**2) ** 0.5
        assert found["level_value_nats"][t - 1] == pytest.approx(elbo - lower, abs=4 * error)
        assert own < 0.5


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_there_is_a_gap_for_every_level_above_the_first(depth: int) -> None:
    model, x = network(depth), torch.rand(N, D)
    result = model(x, torch.randn(5, N, depth, L))
    assert value_gaps(model, result, torch.randn(5, N, depth, L)).shape == (5, N, depth - 1)


@torch.no_grad()
def test_level_values_of_three_linear_levels_are_their_closed_forms() -> None:
    """One unit a level. The gaps are quadratic in the noise, so that noise of ±1 is exact.

    q: z_1 = 0.7 + e_1, z_2 = 0.5 z_1 + 0.6 e_2, z_3 = 0.9 z_2 + 0.8 e_3;
    p: z_1 ~ N(1.2 z_2, 1), z_2 ~ N(0.4 z_3, 1), z_3 ~ N(0, 1).
    """
    model = HierarchicalVAE(1, 2, 1, 3).double()
    for level, (mu, sigma) in enumerate([(0.0, 1.0), (0.5, 0.6), (0.9, 0.8)]):
        encoder = without_level(model, level).encoders[level]
        assert isinstance(encoder, Encoder)
        set_linear(encoder.linear, encoder.linear_mu, torch.tensor([[mu]]).double())
        nn.init.constant_(encoder.linear_logvar.bias, 2 * math.log(sigma))
    first = model.encoders[0]
    assert isinstance(first, Encoder)
    nn.init.constant_(first.linear_mu.bias, 0.7)
    for level, weight in ((1, 1.2), (2, 0.4)):
        make_linear(model.decoders[level], torch.tensor([[weight]]).double())
    points = list(product((-1.0, 1.0), repeat=6))
    noise = torch.tensor(points, dtype=torch.float64).reshape(-1, 1, 6, 1)
    result = model(torch.zeros(1, 1, dtype=torch.float64), noise[:, :, :3])
    gaps = value_gaps(model, result, noise[:, :, 3:]).mean((0, 1))

    z = torch.tensor([[0.7, 1, 0, 0], [0.35, 0.5, 0.6, 0], [0.315, 0.45, 0.54, 0.8]]).double()
    one, two, three = (z @ z.T).diag()  # second moments: rows hold the mean and the noise
    lower, upper = (z[0] - 1.2 * z[1]).square().sum(), (z[1] - 0.4 * z[2]).square().sum()
    entropy_2, entropy_3 = 0.5 + math.log(0.6), 0.5 + math.log(0.8)  # less ½ log 2π, as all here
    top = entropy_3 - three / 2 - upper / 2 + (two + 0.4**2) / 2
    both = entropy_2 + entropy_3 - (three + upper + lower) / 2 + (one + 1.2**2 * 1.16) / 2
    torch.testing.assert_close(gaps, torch.stack([both, top]))


@torch.no_grad()
def test_the_metric_is_the_mean_gap_over_ten_draws_and_all_images(digits: Images) -> None:
    model, x = network(3), pixels(digits)
    posterior = streams.noise("evaluation", 0, 0, BLOCK_SAMPLES * N, 3, L).reshape(-1, N, 3, L)
    prior = streams.noise("prior", 0, 0, VALUE_SAMPLES * N, 3, L).reshape(-1, N, 3, L)
    gaps = value_gaps(model, model(x, posterior[:VALUE_SAMPLES]), prior)
    values, errors = zip(*(mean_and_error(gap) for gap in gaps.unbind(-1)), strict=True)
    found = evaluate([model], digits, 10).metrics[0]
    assert found["level_value_nats"][1:] == pytest.approx(values, rel=1e-5)
    assert found["level_value_standard_error_nats"][1:] == pytest.approx(errors, rel=1e-5)


def redrawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Gives every stream of noise another seed."""
    noise = streams.noise

    def redraw(draw: int) -> None:
        monkeypatch.setattr(
            streams, "noise", lambda purpose, *numbers: noise(f"{purpose} {draw}", *numbers)
        )

    return redraw


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_dead_top_level_is_worth_nothing(depth: int, loss: str, digits: Images) -> None:
    model = without_level(network(depth, loss), depth - 1)
    found = evaluate([model], digits, 100).metrics[0]
    error = found["level_value_standard_error_nats"][-1]
    assert 0 < error < 0.5
    assert found["level_value_nats"][-1] == pytest.approx(0, abs=4 * error)
    assert found["kl_per_level_nats"][-1] == 0


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_interval_of_a_dead_level_covers_zero_as_often_as_it_says(
    depth: int, monkeypatch: pytest.MonkeyPatch, digits: Images
) -> None:
    model, draws = without_level(network(depth), depth - 1), 200
    monkeypatch.setattr(evaluation, "probe_accuracies", lambda model, images: [])
    redraw, covered, total = redrawn(monkeypatch), 0, 0.0
    for draw in range(draws):
        redraw(draw)
        found = evaluate([model], digits, 10).metrics[0]
        ratio = found["level_value_nats"][-1] / found["level_value_standard_error_nats"][-1]
        covered += abs(ratio) < 1.96
        total += ratio
    assert 0.905 <= covered / draws <= 0.995  # 0.95 ± 3 errors of 200 draws
    assert abs(total) / draws**0.5 < 3.5  # and no bias


def test_an_informative_level_is_worth_something() -> None:
    """z_1 | z_2 ~ N(3 z_2, I) and q(z_2 | z_1) its exact posterior: far better than a guess."""
    torch.manual_seed(0)
    model = HierarchicalVAE(D, 2 * L, L, 2)
    make_linear(model.decoders[1], 3 * torch.eye(L))
    encoder = without_level(model, 1).encoders[1]
    assert isinstance(encoder, Encoder)
    set_linear(encoder.linear, encoder.linear_mu, 0.3 * torch.eye(L))
    nn.init.constant_(encoder.linear_logvar.bias, torch.tensor(0.1).log().item())
    with torch.no_grad():
        result = model(torch.rand(N, D), torch.randn(400, N, 2, L))
        gaps = value_gaps(model, result, torch.randn(400, N, 2, L)).squeeze(-1)
    # log N(z_1; 0, 10 I) less the mean of log N(z_1; 3 z_2, I) over guesses of z_2.
    z = result.levels[0].z
    expected = 0.5 * (z.square() + 9 - z.square() / 10 - torch.tensor(10.0).log()).sum(-1)
    value, error = mean_and_error(gaps - expected)
    assert abs(value) < 4 * error
    assert gaps.mean() > 6
