"""hvae/model/hierarchy.py against a literal copy of the documented classes."""

import math
import pickle
from collections.abc import Callable
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from linear_gaussian import make_affine
from torch import Tensor, nn

from hvae.config import DataConfig, ModelConfig, RunConfig
from hvae.model.hierarchy import (
    Decoder,
    Encoder,
    HierarchicalVAE,
    ancestral,
    initial,
    initialise,
    reparameterize,
)
from hvae.model.objectives import documented_loss

DEPTHS = (1, 2, 3, 4)
D, H, L, B = 64, 30, 5, 16


class DocumentedEncoder(nn.Module):
    def __init__(self, in_dim: int, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, hidden_dim)
        self.linear_mu = nn.Linear(hidden_dim, latent_dim)
        self.linear_logvar = nn.Linear(hidden_dim, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.linear(x))
        mu = self.linear_mu(h)
        logvar = self.linear_logvar(h)
        return mu, torch.exp(0.5 * logvar)


class DocumentedDecoder(nn.Module):
    def __init__(
        self, latent_dim: int, hidden_dim: int, out_dim: int, use_sigmoid: bool = False
    ) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(latent_dim, hidden_dim)
        self.linear_2 = nn.Linear(hidden_dim, out_dim)
        self.use_sigmoid = use_sigmoid

    def forward(self, z: Tensor) -> Tensor:
        x_hat: Tensor = self.linear_2(F.relu(self.linear_1(z)))
        return torch.sigmoid(x_hat) if self.use_sigmoid else x_hat


def documented_reparameterize(mu: Tensor, sigma: Tensor) -> Tensor:
    eps = torch.randn_like(sigma)
    return mu + eps * sigma


class DocumentedVAE(nn.Module):
    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        latent_dim: int,
        num_layers: int = 2,
        use_bce: bool = True,
    ) -> None:
        super().__init__()
        widths = [input_dim] + [latent_dim] * (num_layers - 1)
        self.use_bce = use_bce
        self.encoders = nn.ModuleList(
            [DocumentedEncoder(width, hidden_dim, latent_dim) for width in widths]
        )
        self.decoders = nn.ModuleList(
            [
                DocumentedDecoder(latent_dim, hidden_dim, width, use_sigmoid=i == 0)
                for i, width in enumerate(widths)
            ]
        )

    def get_loss(self, x: Tensor) -> Tensor:
        batch_size, z = len(x), x
        mus, sigmas, zs = [], [], []
        for encoder in self.encoders:
            mu, sigma = encoder(z)
            z = documented_reparameterize(mu, sigma)
            mus.append(mu)
            sigmas.append(sigma)
            zs.append(z)
        means = [decoder(z) for decoder, z in zip(self.decoders, zs, strict=True)]
        distance = F.binary_cross_entropy if self.use_bce else F.mse_loss
        loss: Tensor = distance(means[0], x, reduction="sum") / batch_size
        prior_means = [*means[1:], torch.zeros_like(mus[-1])]
        for mu, sigma, mu_p in zip(mus, sigmas, prior_means, strict=True):
            kl = sigma**2 + (mu - mu_p) ** 2 - 1 - torch.log(sigma**2)
            loss = loss + kl.sum() / batch_size
        return loss


def pair(depth: int, use_bce: bool) -> tuple[HierarchicalVAE, DocumentedVAE]:
    """Our model and the documented one with its weights."""
    torch.manual_seed(depth)
    documented = DocumentedVAE(D, H, L, depth, use_bce)
    ours = HierarchicalVAE(D, H, L, depth, use_bce)
    ours.load_state_dict(documented.state_dict(), strict=True)
    return ours, documented


def grey(images: int = B) -> Tensor:
    """Grey levels, black and white among them: [B, D]."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(images, D, generator=generator) * 1.5 - 0.25).clamp(0, 1)


def losses(x: Tensor, *models: HierarchicalVAE | DocumentedVAE) -> list[float]:
    """What each returns from the same state of the global generator."""
    values = []
    for model in models:
        torch.manual_seed(1)
        values.append(model.get_loss(x).item())
    return values


def with_logits(model: nn.Module, logits: Tensor) -> None:
    """Make the pixels ignore the latents: logits [D]."""
    head = model.get_submodule("decoders.0.linear_2")
    assert isinstance(head, nn.Linear)
    nn.init.zeros_(head.weight)
    head.bias.data = logits.clone()


def test_the_documented_model_has_174_084_parameters() -> None:
    model = HierarchicalVAE(784, 100, 20)
    assert sum(p.numel() for p in model.parameters()) == 174_084
    assert model.config == ModelConfig()
    assert model.loss == "bce"


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_documented_state_dict_loads_and_the_other_way_round(depth: int) -> None:
    ours, documented = pair(depth, use_bce=True)
    names = [(name, tensor.shape) for name, tensor in documented.state_dict().items()]
    assert [(name, tensor.shape) for name, tensor in ours.state_dict().items()] == names
    fresh = HierarchicalVAE(D, H, L, depth)
    documented.load_state_dict(fresh.state_dict(), strict=True)
    for own, theirs in zip(fresh.parameters(), documented.parameters(), strict=True):
        assert torch.equal(own, theirs)


@pytest.mark.parametrize("use_bce", [True, False])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_get_loss_is_the_documented_value_on_the_same_noise(
    scale: float, depth: int, use_bce: bool
) -> None:
    ours, documented = pair(depth, use_bce)
    for model in (ours, documented):
        for parameter in model.parameters():
            parameter.data *= scale
    value, expected = losses(grey(), ours, documented)
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("use_bce", [True, False])
def test_the_gradient_of_get_loss_is_the_documented_one(use_bce: bool) -> None:
    ours, documented = pair(3, use_bce)
    for model in (ours, documented):
        torch.manual_seed(1)
        model.get_loss(grey()).backward()
    for own, theirs in zip(ours.parameters(), documented.parameters(), strict=True):
        torch.testing.assert_close(own.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", DEPTHS)
def test_noise_is_drawn_from_the_global_generator_first_level_first(depth: int) -> None:
    ours, _ = pair(depth, use_bce=True)
    torch.manual_seed(1)
    noise = torch.stack([torch.randn(B, L) for _ in range(depth)], dim=1)
    after = torch.get_rng_state()
    expected = documented_loss(ours(grey(), noise), grey(), "bce").mean().item()
    assert losses(grey(), ours) == [pytest.approx(expected, rel=1e-6)]
    assert torch.equal(torch.get_rng_state(), after)  # nothing more was drawn
    if depth > 1:
        swapped = documented_loss(ours(grey(), noise.flip(1)), grey(), "bce").mean().item()
        assert swapped != pytest.approx(expected, rel=1e-5)  # the order is seen in the value


def test_right_saturated_pixels_give_the_documented_value() -> None:
    ours, documented = pair(2, use_bce=True)
    x = (grey() > 0.5).float()[:1].expand(B, D)
    for model in (ours, documented):
        with_logits(model, 40.0 * (2 * x[0] - 1))  # sigmoid is 1 in float32 above 16.6
    value, expected = losses(x, ours, documented)
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("pixel", "logit", "clamped"),
    [(0.0, 20.0, True), (0.0, 150.0, True), (1.0, -110.0, True), (1.0, -20.0, False)],
)
def test_a_wrong_saturated_pixel_keeps_its_exact_value_and_its_gradient(
    pixel: float, logit: float, clamped: bool
) -> None:
    ours, documented = pair(1, use_bce=True)
    x = torch.full((B, D), pixel)
    for model in (ours, documented):
        with_logits(model, torch.full((D,), logit))
    value, theirs = losses(x, ours, documented)
    exact = abs(logit) + math.log1p(math.exp(-abs(logit)))
    expected = 100.0 if clamped else exact
    # Both hold the same KL, so the difference is that of the pixels: 9,600 nats at most in float32.
    assert value - theirs == pytest.approx(D * (exact - expected), abs=1e-2)
    ours.get_loss(x).backward()
    gradient = ours.get_parameter("decoders.0.linear_2.bias").grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full((D,), math.copysign(1.0, logit)))


@pytest.mark.parametrize(
    ("field", "sizes"),
    [
        ("num_layers", (D, H, L, 0)),
        ("num_layers", (D, H, L, -1)),
        ("latent_dim", (D, H, 0, 2)),
        ("latent_dim", (D, H, -1, 2)),
        ("hidden_dim", (D, 0, L, 2)),
        ("input_dim", (0, H, L, 2)),
        ("latent_dim", (D, H, 2.0, 2)),
        ("num_layers", (D, H, L, True)),
    ],
)
def test_a_size_below_one_is_refused_by_name(field: str, sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"{field}: .* is not allowed; allowed: integers ≥ 1"):
        HierarchicalVAE(*sizes)


@pytest.mark.parametrize("shape", [(B, D - 1), (B, D + 1), (D,), (B, 1, D), (D, B)])
def test_images_of_a_wrong_width_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x: shape .* is not allowed; allowed: \[B, 64\]"):
        HierarchicalVAE(D, H, L).get_loss(torch.zeros(shape))


@pytest.mark.parametrize("value", [-1e-3, 1.001, 255.0, math.nan, math.inf, -math.inf])
def test_images_outside_0_to_1_are_refused(value: float) -> None:
    x = grey()
    x[3, 7] = value
    with pytest.raises(ValueError, match=r"x: values from .* allowed: \[0, 1\]"):
        HierarchicalVAE(D, H, L).get_loss(x)


@pytest.mark.parametrize(
    ("levels", "units", "told"),
    [
        (2, L, "noise: 2 levels are not allowed; allowed: 3"),
        (4, L, "noise: 4 levels are not allowed; allowed: 3"),
        (3, 1, f"noise: 1 units are not allowed; allowed: {L} or more"),  # and no broadcasting
    ],
)
def test_noise_that_does_not_fit_is_refused(levels: int, units: int, told: str) -> None:
    model = HierarchicalVAE(D, H, L, num_layers=3)
    with pytest.raises(ValueError, match=f"^{told}$"):
        model(grey(), torch.zeros(B, levels, units))


def test_of_noise_for_more_units_the_leading_count() -> None:
    model, noise = HierarchicalVAE(D, H, L, num_layers=3), torch.randn(B, 3, L + 2)
    assert torch.equal(model(grey(), noise).logits, model(grey(), noise[..., :L]).logits)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_model_can_be_pickled(activation: str) -> None:
    model = initial(RunConfig(ModelConfig(D, activation=activation), data=DataConfig("digits")))
    again = pickle.loads(pickle.dumps(model))
    noise = torch.zeros(B, 2, model.config.latent_dim)
    assert torch.equal(again(grey(), noise).logits, model(grey(), noise).logits)


@pytest.mark.parametrize("depth", DEPTHS)
def test_leading_samples_are_separate_passes(depth: int) -> None:
    model, x = pair(depth, use_bce=True)[0].double(), grey().double()
    noise = torch.randn(3, B, depth, L, dtype=torch.float64)
    together = model(x, noise)
    assert together.logits.shape == (3, B, D)
    for s, alone in enumerate(model(x, noise[s]) for s in range(3)):
        torch.testing.assert_close(together.logits[s], alone.logits)
        for t in range(depth):
            torch.testing.assert_close(together.priors[t].mu[s], alone.priors[t].mu)
            for many, one in zip(together.levels[t], alone.levels[t], strict=True):
                torch.testing.assert_close(many[s], one)


def test_a_level_sees_only_the_draw_of_the_level_below() -> None:
    model = pair(4, use_bce=True)[0]
    result = model(grey(), torch.randn(B, 4, L))
    for t, (below, level) in enumerate(pairwise(result.levels), start=1):
        q = model.posterior(t, below.z)
        assert torch.equal(q.mu, level.mu)
        assert torch.equal(q.logvar, level.logvar)
        assert torch.equal(result.priors[t - 1].mu, model.decode(t, level.z))
    assert torch.equal(result.priors[-1].mu, torch.zeros(B, L))
    assert torch.equal(result.logits, model.decode(0, result.levels[0].z))


def test_encoder_decoder_and_reparameterize_return_the_documented_values() -> None:
    x, z = grey(), torch.randn(B, L)
    encoder, decoders = Encoder(D, H, L), [Decoder(L, H, D, use) for use in (False, True)]
    theirs = DocumentedEncoder(D, H, L)
    theirs.load_state_dict(encoder.state_dict())
    for own, expected in zip(encoder(x), theirs(x), strict=True):
        torch.testing.assert_close(own, expected)
    for decoder, use in zip(decoders, (False, True), strict=True):
        copy = DocumentedDecoder(L, H, D, use)
        copy.load_state_dict(decoder.state_dict())
        torch.testing.assert_close(decoder(z), copy(z))
    drawn: list[Tensor] = []
    functions: list[Callable[[Tensor, Tensor], Tensor]]
    functions = [reparameterize, documented_reparameterize]
    for draw in functions:
        torch.manual_seed(2)
        drawn.append(draw(z, z.exp()))
    assert torch.equal(*drawn)


def test_initialise_draws_what_pytorch_draws_from_its_own_generator_only() -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = HierarchicalVAE(784, 100, 20)
    model = model.to_empty(device="cpu")
    initialise(model, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    for module in (m for m in model.modules() if isinstance(m, nn.Linear)):
        bound, weight = module.in_features**-0.5, module.weight.detach()
        assert 0.98 * bound < weight.abs().max() <= bound
        assert module.bias.abs().max() <= bound
        # Uniform: variance bound² / 3; 2,000 weights or more give it to 5 standard errors.
        assert weight.var().item() == pytest.approx(bound**2 / 3, rel=5 * weight.numel() ** -0.5)


def make_linear(decoder: nn.Module, weight: Tensor) -> None:
    """decoder(z) = weight z."""
    assert isinstance(decoder, Decoder)
    make_affine(decoder.linear_1, decoder.linear_2, weight, torch.zeros_like(weight[:, 0]))


def test_ancestral_samples_have_the_moments_of_the_prior() -> None:
    """Noise of ±1 in every combination gives mean and covariance of linear levels exactly."""
    torch.manual_seed(0)
    model = HierarchicalVAE(D, 4, 2, 3).double()
    a, b = torch.randn(2, 2, 2, dtype=torch.float64)  # z_1 ~ N(a z_2, I), z_2 ~ N(b z_3, I)
    make_linear(model.decoders[1], a)
    make_linear(model.decoders[2], b)
    points = list(product((-1.0, 1.0), repeat=6))
    noise = torch.tensor(points, dtype=torch.float64).reshape(-1, 3, 2)
    levels = ancestral(model, noise)
    eye = torch.eye(2, dtype=torch.float64)
    covariances = [eye + a @ (eye + b @ b.T) @ a.T, eye + b @ b.T, eye]
    for z, covariance in zip(levels, covariances, strict=True):
        torch.testing.assert_close(z.T @ z / len(z), covariance)
        torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(levels[0].T @ levels[2] / len(noise), a @ b)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_ancestral_samples_go_down_through_the_decoders(depth: int) -> None:
    torch.manual_seed(depth)
    model, noise = HierarchicalVAE(D, H, L, depth), torch.randn(5, 6, depth, L)
    levels = ancestral(model, noise)
    assert torch.equal(levels[-1], noise[..., -1, :])
    for t in range(depth - 1):
        torch.testing.assert_close(
            levels[t], model.decoders[t + 1](levels[t + 1]) + noise[..., t, :]
        )


@torch.no_grad()
def test_a_decoder_is_linear_around_every_z() -> None:
    torch.manual_seed(0)
    decoder = Decoder(L, H, D).double()
    z = torch.randn(B, L, dtype=torch.float64)
    output, slopes = decoder.linearised(z)
    torch.testing.assert_close(output, decoder.logits(z))
    step = 1e-7 * torch.randn_like(z)  # no kink so near
    moved = output + (step.unsqueeze(1) @ slopes).squeeze(1)
    torch.testing.assert_close(decoder.logits(z + step), moved, rtol=0, atol=1e-14)
