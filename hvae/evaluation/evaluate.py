"""All test metrics of trained models, on the whole test set, in nats per image.

Every model of a call sees the same fixed noise, drawn for blocks of images and samples of a fixed
size: no result depends on what is computed at once. Reductions are in float64.
Shapes: S samples, s of them at once, B images of a block, N test images, D pixels, T levels,
L latent.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.data.images import Images
from hvae.evaluation.estimators import (
    CURVE,
    bounds,
    monte_carlo_error,
    test_set_error,
    variance_of_bound,
    variance_of_mean,
)
from hvae.evaluation.levels import prior_likelihood, value_gaps
from hvae.evaluation.likelihood import PixelSums, fastest_sums, pixel_nlls
from hvae.evaluation.probes import probe_accuracies
from hvae.evaluation.units import Values, active_units, latent_sums, unit_moments
from hvae.model import Gaussian, HierarchicalVAE, posterior_means
from hvae.objectives import (
    LOG_2_PI,
    Latents,
    bernoulli_nll,
    importance_bound,
    log_prior_ratio,
)

BLOCK_IMAGES = 100  # images and samples that share a draw of noise: part of its definition
BLOCK_SAMPLES = 50
# Draws for the KL and for what units do, and for the value of a level: fewer than for the bounds,
# because the errors of their means over images are far below those between seeds.
UNIT_SAMPLES = 100
VALUE_SAMPLES = 10

Nlls = Callable[[HierarchicalVAE, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Evaluation(NamedTuple):
    """Metrics of each model, in their order, and what they cost together."""

    metrics: list[dict[str, Any]]
    seconds: float


@torch.no_grad()
def evaluate(
    models: Sequence[HierarchicalVAE],
    images: Images,
    importance_samples: int = 1000,
    device: str = "cpu",
    sums: PixelSums = fastest_sums,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """The metrics of each model. What takes the sums over pixels changes them by rounding only."""
    started = time.perf_counter()
    nlls = partial(pixel_nlls, sums=sums)
    models = [model.to(torch.device(device)) for model in models]
    blocks: list[list[Block]] = [[] for _ in models]
    for inputs in _inputs(models, images, importance_samples, torch.device(device)):
        for model, done in zip(models, blocks, strict=True):
            done.append(_block(model, inputs, importance_samples, nlls))
        progress(inputs.stop, len(images.test))
        del inputs
    metrics = [
        _metrics(model, _joined(done), images, importance_samples)
        for model, done in zip(models, blocks, strict=True)
    ]
    return Evaluation(metrics, time.perf_counter() - started)


class Inputs(NamedTuple):
    """A block of the test set and the noise that every model sees with it."""

    stop: int  # index of the image after the block
    x: Tensor  # [B, D]
    binary: Tensor  # [B, D]
    posterior: list[Tensor]  # [BLOCK_SAMPLES, B, T, L] each, of at least S samples in all
    prior: Tensor  # [VALUE_SAMPLES, B, T, L]


def _inputs(
    models: Sequence[HierarchicalVAE], images: Images, samples: int, device: torch.device
) -> Iterator[Inputs]:
    layers = max(model.config.num_layers for model in models)
    latent = max(model.config.latent_dim for model in models)

    def draw(purpose: str, start: int, done: int, count: int) -> Tensor:
        size = min(BLOCK_IMAGES, len(images.test) - start)
        drawn = streams.noise(purpose, start, done, count * size, layers, latent)
        return drawn.reshape(count, size, layers, latent).to(device)

    for start in range(0, len(images.test), BLOCK_IMAGES):
        rows = slice(start, start + BLOCK_IMAGES)
        x = torch.tensor(images.test[rows], device=device).float() / images.test_levels
        binary = torch.tensor(images.test_binary[rows], device=device).float()
        yield Inputs(  # named nowhere here, so that a block's noise can go before the next comes
            start + len(x),
            x,
            binary,
            [
                draw("evaluation", start, done, BLOCK_SAMPLES)
                for done in range(0, samples, BLOCK_SAMPLES)
            ],
            draw("prior", start, 0, VALUE_SAMPLES),
        )


class Block(NamedTuple):
    """What a model says of a block: a value per image [B, ...], and sums over images [T, L]."""

    images: Values
    units: Values


def _block(model: HierarchicalVAE, inputs: Inputs, samples: int, nlls_of: Nlls) -> Block:
    """Everything that one model says of one block of images."""
    x, sizes = inputs.x, model.config
    own = (slice(sizes.num_layers), slice(sizes.latent_dim))
    noise = [drawn[..., *own] for drawn in inputs.posterior]
    log_w, binary_log_w, nlls = [], [], []
    posterior = model.posterior(0, x)
    sums: list[Values] = []
    for done, drawn in enumerate(noise):
        latents = _latents(model, posterior, drawn[: samples - done * BLOCK_SAMPLES])
        ratio = log_prior_ratio(latents, torch.ones((), device=x.device))
        nll, binary_nll = nlls_of(model, latents.levels[0].z, x, inputs.binary)
        nlls.append(nll.double())
        log_w.append((ratio - nll).double())
        binary_log_w.append((ratio - binary_nll).double())
        if done * BLOCK_SAMPLES < UNIT_SAMPLES:
            sums.append(latent_sums(latents))
    unit_samples = min(samples, UNIT_SAMPLES)
    means = {
        name: torch.stack([part[name] for part in sums]).sum(0) / unit_samples for name in sums[0]
    }
    nll = torch.cat(nlls).mean(0)
    loss = nll if model.loss == "bce" else 2.0 * nll - x.shape[-1] * LOG_2_PI
    first = _latents(model, posterior, noise[0][:VALUE_SAMPLES])
    gaps = value_gaps(model, first, inputs.prior[..., *own]).double()  # [s, B, T - 1]
    scoreboard = torch.cat(binary_log_w)
    images = {
        "reconstruction": nll,
        "documented": loss + 2.0 * means["closed_form_kl"],
        "scoreboard": importance_bound(scoreboard),
        "scoreboard_variance": variance_of_bound(scoreboard),
        "gap": gaps.mean(0),
        "gap_variance": variance_of_mean(gaps),
    }
    images |= bounds(torch.cat(log_w)) | _reconstruction(model, x)
    return Block(images, unit_moments(means, unit_samples))


def _latents(model: HierarchicalVAE, posterior: Gaussian, noise: Tensor) -> Latents:
    """Joint samples without their pixels, from the first level's posterior."""
    levels = model.infer(posterior, noise)
    return Latents(levels, model.prior_means(levels))


def _reconstruction(model: HierarchicalVAE, x: Tensor) -> Values:
    """Errors of the reconstruction at the posterior mean of z_1: no sample, no bound."""
    logits = model.decode(0, posterior_means(model, x)[0])
    return {
        "squared_error": (x - logits.sigmoid()).double().square().mean(-1),
        "bce": bernoulli_nll(logits, x).double(),
    }


def _joined(blocks: Sequence[Block]) -> Block:
    """The blocks of the test set as one."""
    return Block(
        {name: torch.cat([b.images[name] for b in blocks]) for name in blocks[0].images},
        {name: torch.stack([b.units[name] for b in blocks]).sum(0) for name in blocks[0].units},
    )


def _metrics(model: HierarchicalVAE, block: Block, images: Images, samples: int) -> dict[str, Any]:
    """Means over the test set, with the errors that README tells apart."""
    values, kl = block.images, block.units["kl"] / len(images.test)  # [T, L]
    curve = {str(s): -_mean(values[f"bound_{s}"]) for s in (*CURVE, samples) if s <= samples}
    squared_error = _mean(values["squared_error"])
    return {
        "loss_documented": _mean(values["documented"]),
        "elbo_nats": _mean(values["elbo"]),
        "elbo_standard_error_nats": monte_carlo_error(values["elbo_variance"]).item(),
        "elbo_test_set_error_nats": test_set_error(values["elbo"]),
        "nll_nats": curve[str(samples)],
        "nll_standard_error_nats": monte_carlo_error(values["nll_variance"]).item(),
        "nll_test_set_error_nats": test_set_error(values[f"bound_{samples}"]),
        "nll_curve_nats": curve,
        "importance_samples": samples,
        "effective_sample_size": _mean(values["effective_samples"]),
        "reconstruction_nats": _mean(values["reconstruction"]),
        "rate_nats": float(kl.sum()),
        "kl_per_level_nats": kl.sum(-1).tolist(),
        "kl_per_unit_nats": kl.tolist(),
        "active_units_per_level": active_units(block.units, "mean", len(images.test)),
        "active_units_scale_free_per_level": active_units(block.units, "shift", len(images.test)),
        "scoreboard_nll_nats": -_mean(values["scoreboard"]),
        "scoreboard_standard_error_nats": monte_carlo_error(values["scoreboard_variance"]).item(),
        "scoreboard_test_set_error_nats": test_set_error(values["scoreboard"]),
        "reconstruction_mse": squared_error,
        "psnr_db": -10.0 * math.log10(squared_error),
        "reconstruction_bce_nats": _mean(values["bce"]),
        "probe_accuracy_per_level": probe_accuracies(model, images),
    } | _level_values(model, values, images)


def _level_values(model: HierarchicalVAE, values: Values, images: Images) -> dict[str, Any]:
    """What levels t…T buy, and its Monte-Carlo error: t = 1 apart, as it redraws the pixels."""
    x = torch.tensor(images.test, device=values["elbo"].device).float() / images.test_levels
    prior, prior_error = prior_likelihood(model, x, model.loss)
    first = (values["elbo"] - prior).mean().item()
    elbo_error = monte_carlo_error(values["elbo_variance"]).item()
    return {
        "level_value_nats": [first, *values["gap"].mean(0).tolist()],
        "level_value_standard_error_nats": [
            math.hypot(elbo_error, prior_error),
            *monte_carlo_error(values["gap_variance"]).tolist(),
        ],
    }


def _mean(values: Tensor) -> float:
    return float(values.mean())
