"""All test metrics of trained models, on the whole test set, in nats per image.

Every model of a call sees the same fixed noise, drawn for blocks of images and samples of a fixed
size: no result depends on what is computed at once. Reductions are in float64.
Shapes: S samples, s of them at once, B images of a block, N test images, n those that the reported
NLL is sampled on, D pixels, T levels, L latent.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.data.images import Images
from hvae.evaluation.estimators import CURVE, bounds, monte_carlo_error, test_set_error
from hvae.evaluation.importance import Aggregate
from hvae.evaluation.levels import aggregates
from hvae.evaluation.likelihood import PixelSums, Target, fastest_sums, pixel_nlls
from hvae.evaluation.nll import Corrected, certify, corrected, sampled, subset
from hvae.evaluation.probes import probe_accuracies
from hvae.evaluation.units import Values, active_units, latent_sums, unit_moments
from hvae.model import HierarchicalVAE, posterior_means
from hvae.objectives import LOG_2_PI, Latents, bernoulli_nll, log_prior_ratio
from hvae.records.attachments import Arrays

BLOCK_IMAGES = 100  # images and samples that share a draw of noise: part of its definition
BLOCK_SAMPLES = 50
# Draws for the KL and for what units do: fewer than for the bounds, because the errors of their
# means over images are far below those between seeds.
UNIT_SAMPLES = 100
SCOREBOARD = "scoreboard_"  # begins the names of what is said of the binarised test images


class Evaluation(NamedTuple):
    """What was measured of each model, in their order, and what it cost together.

    `nlls` hold a value for each test image [N], of the NLL and of the scoreboard NLL where that is
    another: their means are the metrics, their spread is the test-set error, also of a difference
    between two models.
    """

    metrics: list[dict[str, Any]]
    nlls: list[Arrays]
    seconds: float


@torch.no_grad()
def evaluate(
    models: Sequence[HierarchicalVAE],
    images: Images,
    importance_samples: int = 1000,
    device: str = "cpu",
    sums: PixelSums = fastest_sums,
    progress: Callable[[int, int], None] = lambda done, total: None,
    nll_images: int = 1000,
) -> Evaluation:
    """The metrics of each model. What takes the sums over pixels changes them by rounding only."""
    started = time.perf_counter()
    models = [model.to(torch.device(device)) for model in models]
    source = BlockSource(models, images, importance_samples, torch.device(device))
    every, chosen = torch.arange(len(images.test)), subset(len(images.test), nll_images)
    total = len(every) + len(chosen)
    encoded: list[list[Block]] = [[] for _ in models]
    for inputs in source.blocks("evaluation", every):
        for model, blocks in zip(models, encoded, strict=True):
            blocks.append(_block(model, inputs, sums))
        progress(inputs.stop, total)
        del inputs  # before the next block's noise comes
    tops = [aggregates(model, images) for model in models]
    nlls: list[list[Values]] = [[] for _ in models]
    for inputs in source.blocks("nll", chosen):
        for model, parts, top in zip(models, nlls, tops, strict=True):
            parts.append(_nlls(model, inputs, top, sums))
        progress(len(every) + inputs.stop, total)
        del inputs
    found = [
        _metrics(model, images, _joined(block), chosen, _concatenated(values), source, sums)
        for model, block, values in zip(models, encoded, nlls, strict=True)
    ]
    metrics, arrays = ([part[i] for part in found] for i in range(2))
    return Evaluation(metrics, arrays, time.perf_counter() - started)


class Inputs(NamedTuple):
    """A block of the test set and the noise that every model sees with it."""

    stop: int  # images up to its end
    x: Tensor  # [B, D]
    binary: Tensor  # [B, D]
    noise: list[Tensor]  # [s, B, T, L] each, S draws in all

    def own_noise(self, model: HierarchicalVAE) -> list[Tensor]:
        """The leading levels and units, as many as the model has."""
        sizes = model.config
        return [part[..., : sizes.num_layers, : sizes.latent_dim] for part in self.noise]

    def targets(self, model: HierarchicalVAE) -> dict[str, Target]:
        """The images as the model was trained on them, and as all models are compared by them, by
        what the names of their metrics begin with; one of them where both are the same."""
        targets = {"": Target(self.x, model.loss)}
        if model.loss != "bce" or not torch.equal(self.x, self.binary):
            targets[SCOREBOARD] = Target(self.binary, "bce")
        return targets


class BlockSource(NamedTuple):
    """Where the blocks of a test set and their noise come from."""

    models: Sequence[HierarchicalVAE]
    images: Images
    samples: int
    device: torch.device

    def blocks(self, purpose: str, rows: Tensor) -> Iterator[Inputs]:
        """The test images of the rows [n], a block at a time."""
        for start in range(0, len(rows), BLOCK_IMAGES):
            part = rows[start : start + BLOCK_IMAGES].numpy()
            x = torch.tensor(self.images.test[part], device=self.device).float()
            binary = torch.tensor(self.images.test_binary[part], device=self.device).float()
            noise = self._noise(purpose, start, len(part))
            yield Inputs(start + len(part), x / self.images.test_levels, binary, noise)

    def _noise(self, purpose: str, start: int, images: int) -> list[Tensor]:
        layers = max(model.config.num_layers for model in self.models)
        latent = max(model.config.latent_dim for model in self.models)
        parts = []
        for done in range(0, self.samples, BLOCK_SAMPLES):
            drawn = streams.noise(purpose, start, done, BLOCK_SAMPLES * images, layers, latent)
            part = drawn.reshape(BLOCK_SAMPLES, images, layers, latent)
            parts.append(part[: self.samples - done].to(self.device))
        return parts


class Block(NamedTuple):
    """What a model says of a block: a value per image [B, ...], and sums over images [T, L]."""

    images: Values
    units: Values


def _block(model: HierarchicalVAE, inputs: Inputs, sums: PixelSums) -> Block:
    """What one model says of one block of images with latents from its encoders."""
    targets, posterior = inputs.targets(model), model.posterior(0, inputs.x)
    log_w: dict[str, list[Tensor]] = {name: [] for name in targets}
    nlls, moments, drawn = [], [], 0
    for noise in inputs.own_noise(model):
        levels = model.infer(posterior, noise)
        latents = Latents(levels, model.prior_means(levels))
        ratio = log_prior_ratio(latents, torch.ones((), device=inputs.x.device))
        found = pixel_nlls(model.pixel_decoder, levels[0].z, list(targets.values()), sums)
        nlls.append(found[0].double())
        for weights, nll in zip(log_w.values(), found, strict=True):
            weights.append((ratio - nll).double())
        if drawn < UNIT_SAMPLES:
            moments.append(latent_sums(latents))
            drawn += len(noise)
    means = {name: torch.stack([m[name] for m in moments]).sum(0) / drawn for name in moments[0]}
    nll = torch.cat(nlls).mean(0)
    loss = nll if model.loss == "bce" else 2.0 * nll - inputs.x.shape[-1] * LOG_2_PI
    values = {"reconstruction": nll, "documented": loss + 2.0 * means["closed_form_kl"]}
    for prefix, weights in log_w.items():
        values |= {f"{prefix}{name}": v for name, v in bounds(torch.cat(weights)).items()}
    return Block(values | _reconstruction(model, inputs.x), unit_moments(means, drawn))


def _nlls(
    model: HierarchicalVAE, inputs: Inputs, tops: Sequence[Aggregate], sums: PixelSums
) -> Values:
    """What one model says of one block with latents from close to the posterior."""
    values: Values = {}
    for prefix, target in inputs.targets(model).items():
        shorter = () if prefix else tops
        found = sampled(model, target, inputs.own_noise(model), shorter, sums)
        values |= {f"{prefix}{name}": value for name, value in found.items()}
    return values


def _reconstruction(model: HierarchicalVAE, x: Tensor) -> Values:
    """Errors of the reconstruction at the posterior mean of z_1: no sample, no bound."""
    logits = model.decode(0, posterior_means(model, x)[0])
    return {
        "squared_error": (x - logits.sigmoid()).double().square().mean(-1),
        "bce": bernoulli_nll(logits, x).double(),
    }


def _joined(blocks: Sequence[Block]) -> Block:
    """The blocks of the test set as one."""
    units = [block.units for block in blocks]
    return Block(
        _concatenated([block.images for block in blocks]),
        {name: torch.stack([part[name] for part in units]).sum(0) for name in units[0]},
    )


def _concatenated(blocks: Sequence[Values]) -> Values:
    return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}


def _metrics(
    model: HierarchicalVAE,
    images: Images,
    block: Block,
    chosen: Tensor,
    nlls: Values,
    source: BlockSource,
    sums: PixelSums,
) -> tuple[dict[str, Any], Arrays]:
    """Means over the test set, with the errors that README tells apart, and the NLL by image."""
    values, kl = block.images, block.units["kl"] / len(images.test)  # [T, L]
    gap = certify(model, source.samples, source.device, sums)
    nll = _corrected(values, chosen, nlls, "")
    is_own = f"{SCOREBOARD}bound" not in nlls
    scoreboard = nll if is_own else _corrected(values, chosen, nlls, SCOREBOARD)
    squared_error = _mean(values["squared_error"])
    metrics = {
        "loss_documented": _mean(values["documented"]),
        "elbo_nats": _mean(values["elbo"]),
        "elbo_standard_error_nats": monte_carlo_error(values["elbo_variance"]).item(),
        "elbo_test_set_error_nats": test_set_error(values["elbo"]),
        **_errors("nll", nll),
        "nll_bits_per_dimension": _mean(nll.values) / (images.test.shape[1] * math.log(2)),
        "nll_images": len(chosen),
        "nll_fallback_images": int(nlls["is_fallback"].sum()),
        "nll_gap_nats": gap.nats,
        "nll_gap_standard_error_nats": gap.standard_error_nats,
        "effective_sample_size": _mean(nlls["effective_samples"]),
        "importance_samples": source.samples,
        **_encoder_nll(values, source.samples),
        "reconstruction_nats": _mean(values["reconstruction"]),
        "rate_nats": float(kl.sum()),
        "kl_per_level_nats": kl.sum(-1).tolist(),
        "kl_per_unit_nats": kl.tolist(),
        "active_units_per_level": active_units(block.units, "mean", len(images.test)),
        "active_units_scale_free_per_level": active_units(block.units, "shift", len(images.test)),
        "level_gain_nats": [None, *nlls["gains"].mean(0).tolist()],
        "level_gain_test_set_error_nats": [None, *map(test_set_error, nlls["gains"].unbind(-1))],
        **_errors("scoreboard_nll", scoreboard),
        "reconstruction_mse": squared_error,
        "psnr_db": -10.0 * math.log10(squared_error),
        "reconstruction_bce_nats": _mean(values["bce"]),
        "probe_accuracy_per_level": probe_accuracies(model, images),
    }
    named = {"nll_nats": nll} | ({} if is_own else {"scoreboard_nll_nats": scoreboard})
    return metrics, {name: each.values.float().cpu().numpy() for name, each in named.items()}


def _corrected(values: Values, chosen: Tensor, nlls: Values, prefix: str) -> Corrected:
    """The NLL of all test images from the encoders' bound and what was sampled of the subset."""
    bound, variance = (values[f"{prefix}{name}"] for name in ("bound", "bound_variance"))
    own = {name: nlls[f"{prefix}{name}"] for name in ("bound", "variance")}
    return corrected(bound, variance, chosen.to(bound.device), own)


def _errors(name: str, nll: Corrected) -> dict[str, float]:
    """An NLL with its Monte-Carlo and its test-set error."""
    return {
        f"{name}_nats": _mean(nll.values),
        f"{name}_standard_error_nats": nll.monte_carlo_error,
        f"{name}_test_set_error_nats": test_set_error(nll.values),
    }


def _encoder_nll(values: Values, samples: int) -> dict[str, Any]:
    """The bound that papers print, by draws from the encoders alone, and how it falls with S."""
    curve = {str(s): -_mean(values[f"bound_{s}"]) for s in (*CURVE, samples) if s <= samples}
    return {
        "nll_encoder_nats": curve[str(samples)],
        "nll_encoder_standard_error_nats": monte_carlo_error(values["bound_variance"]).item(),
        "nll_encoder_curve_nats": curve,
        "encoder_effective_sample_size": _mean(values["effective_samples"]),
    }


def _mean(values: Tensor) -> float:
    return float(values.mean())
