"""All test metrics of trained models, on the whole test set, in nats per image.

A few draws from the encoders of every test image say all but the bounds by many: these, the NLL
among them, are taken of a fixed subset and carried over to all by the bound of the few.
Every model of a call sees the same fixed noise, drawn for blocks of images and samples of a fixed
size: no result depends on what is computed at once, but for the proposals, whose few draws are a
block's (a GPU's blocks are larger: that moves an NLL within its Monte-Carlo error). Means over
images are in float64.
Shapes: S samples, s of them at once, B images of a block, N test images, n of the subset, D pixels,
T levels, L latent.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hvae.config import CERTIFIED_IMAGES, FEW_SAMPLES
from hvae.data.images import Images
from hvae.evaluation.blocks import SCOREBOARD, BlockSource, Inputs, own_noise
from hvae.evaluation.densities import encoded, own_units
from hvae.evaluation.estimators import (
    CURVE,
    bounds,
    covariance_of_bounds,
    monte_carlo_error,
    test_set_error,
)
from hvae.evaluation.importance import Aggregate
from hvae.evaluation.levels import aggregates
from hvae.evaluation.likelihood import PixelSums, Target, fastest_sums, pixel_nlls
from hvae.evaluation.nll import Corrected, Gap, certify, corrected, sampled, subset
from hvae.evaluation.probes import probe_accuracies
from hvae.evaluation.units import Values, active_units, unit_sums
from hvae.model.gaussians import LOG_2_PI
from hvae.model.hierarchy import HierarchicalVAE, posterior_means
from hvae.model.inference import Evidence
from hvae.model.likelihoods import bernoulli_nll, mean_logits
from hvae.model.objectives import closed_form_kl, log_prior_ratio
from hvae.records.attachments import Arrays


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
    nll_images: int = 400,
) -> Evaluation:
    """The metrics of each model. What takes the sums over pixels changes them by rounding only."""
    started = time.perf_counter()
    models = [model.to(torch.device(device)) for model in models]
    source = BlockSource(models, images, torch.device(device))
    chosen = subset(len(images.test), nll_images)
    total = len(images.test) + len(chosen)
    encoded: list[list[Block]] = [[] for _ in models]
    few = min(FEW_SAMPLES, importance_samples)
    for inputs in source.blocks("evaluation", torch.arange(len(images.test)), few):
        for model, blocks in zip(models, encoded, strict=True):
            blocks.append(_block(model, inputs, sums))
        progress(inputs.stop, total)
        del inputs  # before the next block's noise comes
    tops = aggregates(models, images)
    parts: list[list[Values]] = [[] for _ in models]
    for inputs in source.blocks("nll", chosen, importance_samples):
        for model, own, top in zip(models, parts, tops, strict=True):
            own.append(_sampled(model, inputs, top, few, sums))
        progress(len(images.test) + inputs.stop, total)
        del inputs
    metrics, nlls = [], []
    noise = source.noise("certificate draws", 0, CERTIFIED_IMAGES, importance_samples)
    for model, blocks, own in zip(models, encoded, parts, strict=True):
        gap = certify(model, own_noise(noise, model), sums)
        every, sample = _joined(blocks), _concatenated(own)
        found = Found(every.images, every.units, chosen, sample, few, importance_samples)
        carried = found.nlls()
        metrics.append(_metrics(model, images, found, carried, gap))
        nlls.append({name: nll.values.float().cpu().numpy() for name, nll in carried.items()})
    return Evaluation(metrics, nlls, time.perf_counter() - started)


class Block(NamedTuple):
    """What a model says of a block: a value per image [B, ...], and sums over images [T, L]."""

    images: Values
    units: Values


def _block(model: HierarchicalVAE, inputs: Inputs, sums: PixelSums) -> Block:
    """What one model says of one block of images with few latents from its encoders."""
    (noise,), targets = own_noise(inputs.noise, model), inputs.targets(model)
    latents = model.infer(model.evidence(inputs.x), noise)
    ratio = log_prior_ratio(latents, torch.ones((), device=inputs.x.device))
    nlls = pixel_nlls(model.pixel_decoder, latents.levels[0].z, list(targets.values()), sums)
    nll, kl = nlls[0].double().mean(0), closed_form_kl(latents).sum(-1).double().mean(0)
    loss = 2.0 * nll - inputs.x.shape[-1] * LOG_2_PI if model.loss == "mse" else nll
    values = {"reconstruction": nll, "documented": loss + 2.0 * kl}
    for prefix, each in zip(targets, nlls, strict=True):
        found = bounds((ratio - each).double())
        values |= {f"{prefix}{name}": value for name, value in found.items()}
    return Block(values | _reconstruction(model, inputs.x), unit_sums(latents))


def _sampled(
    model: HierarchicalVAE, inputs: Inputs, tops: Sequence[Aggregate], few: int, sums: PixelSums
) -> Values:
    """What one model says of one block with many latents, from close to the posterior and, under
    names with `encoder_`, from its encoders."""
    targets, noise, values = inputs.targets(model), own_noise(inputs.noise, model), Values()
    evidence = model.evidence(inputs.x)
    parts = [
        _encoder_weights(model, evidence, part, list(targets.values()), sums) for part in noise
    ]
    for (prefix, target), weights in zip(targets.items(), zip(*parts, strict=True), strict=True):
        found = sampled(model, target, noise, () if prefix else tops, sums)
        values |= {f"{prefix}{name}": value for name, value in found.items()}
        log_w = torch.cat(weights)
        found = bounds(log_w, {*CURVE, few}) | {"covariance": covariance_of_bounds(log_w, few)}
        values |= {f"{prefix}encoder_{name}": value for name, value in found.items()}
    return values


def _encoder_weights(
    model: HierarchicalVAE,
    evidence: Evidence,
    noise: Tensor,
    targets: Sequence[Target],
    sums: PixelSums,
) -> list[Tensor]:
    """Log weights of draws from the encoders, for each target: [s, B] each."""
    z, down, up = encoded(model, evidence, noise)
    bottom = own_units(model, z)[0].contiguous()
    ratio = down.sum(-1) - up[..., 1:].sum(-1) - up[..., 0]
    return [ratio - nll for nll in pixel_nlls(model.pixel_decoder, bottom, targets, sums)]


def _reconstruction(model: HierarchicalVAE, x: Tensor) -> Values:
    """Errors of the reconstruction at the posterior mean of z_1: no sample, no bound."""
    logits = model.decode(0, posterior_means(model, x)[0])
    is_logit = model.loss != "continuous-bernoulli"  # of the pixel mean
    return {
        "squared_error": (x - model.likelihood.mean(logits)).double().square().mean(-1),
        "bce": bernoulli_nll(logits if is_logit else mean_logits(logits), x).double(),
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


class Found(NamedTuple):
    """What was measured of one model: of every image by few draws, of those chosen by many."""

    every: Values  # [N, ...]
    units: Values  # [T, L], sums over images
    chosen: Tensor  # [n]
    sample: Values  # [n, ...]
    few: int
    samples: int

    def nlls(self) -> dict[str, Corrected]:
        """The NLL, and the scoreboard NLL where that is another."""
        prefixes = [prefix for prefix in ("", SCOREBOARD) if f"{prefix}bound" in self.sample]
        return {f"{prefix}nll_nats": self._carried(prefix, "") for prefix in prefixes}

    def encoder_nll(self, size: int) -> Corrected:
        """The bound by so many draws from the encoders."""
        if size > self.few:
            covariance = self.sample["encoder_covariance"]
            return self._carried("", "encoder_", f"bound_{size}", covariance)
        error = monte_carlo_error(self.every["bound_variance"])
        return Corrected(-self.every[f"bound_{size}"], float(error))

    def _carried(
        self, prefix: str, name: str, bound: str = "bound", covariance: Tensor | float = 0.0
    ) -> Corrected:
        """A bound by many draws, from the subset to all images. Of the subset the bound by few is
        the mean of many such, which spares it most of their Monte-Carlo error."""
        sample, chosen = self.sample, self.chosen.to(self.every["bound"].device)
        few, variance = (self.every[f"{prefix}{n}"].clone() for n in ("bound", "bound_variance"))
        few[chosen] = sample[f"{prefix}encoder_bound_{self.few}"]
        variance[chosen] /= self.samples // self.few
        better, own = (sample[f"{prefix}{name}{n}"] for n in (bound, "bound_variance"))
        return corrected(few, variance, chosen, better, own, covariance)


def _metrics(
    model: HierarchicalVAE, images: Images, found: Found, nlls: dict[str, Corrected], gap: Gap
) -> dict[str, Any]:
    """Means over the test set, with the errors that README tells apart."""
    values, units, sample = found.every, found.units, found.sample
    kl = units["kl"] / len(images.test)  # [T, L]
    nll, squared_error = nlls["nll_nats"], _mean(values["squared_error"])
    gains = sample["gains"][~sample["gains"].isposinf().any(-1)]  # of images that have one
    reasons = _reasons(images, squared_error)
    board = SCOREBOARD if "scoreboard_nll_nats" in nlls else ""  # else it is the same number
    metrics = {
        "loss_documented": _mean(values["documented"]),
        "elbo_nats": _mean(values["elbo"]),
        "elbo_standard_error_nats": monte_carlo_error(values["elbo_variance"]).item(),
        "elbo_test_set_error_nats": test_set_error(values["elbo"]),
        **_errors("nll", nll),
        "nll_bits_per_dimension": _mean(nll.values) / (images.test.shape[1] * math.log(2)),
        "nll_images": len(found.chosen),
        "nll_fallback_images": int(sample["is_fallback"].sum()),
        "nll_gap_nats": gap.nats,
        "nll_gap_standard_error_nats": gap.standard_error_nats,
        "effective_sample_size": _mean(sample["effective_samples"]),
        "importance_samples": found.samples,
        **_encoder_nll(found),
        "reconstruction_nats": _mean(values["reconstruction"]),
        "rate_nats": float(kl.sum()),
        "kl_per_level_nats": kl.sum(-1).tolist(),
        "kl_per_unit_nats": [
            level[:width].tolist() for level, width in zip(kl, model.config.latents, strict=True)
        ],
        "active_units_per_level": active_units(units, "mean", len(images.test)),
        "active_units_scale_free_per_level": active_units(units, "shift", len(images.test)),
        "level_gain_nats": [None, *gains.mean(0).tolist()],
        "level_gain_test_set_error_nats": [None, *map(test_set_error, gains.unbind(-1))],
        **_errors("scoreboard_nll", nlls.get("scoreboard_nll_nats", nll)),
        "scoreboard_fallback_images": int(sample[f"{board}is_fallback"].sum()),
        "scoreboard_effective_sample_size": _mean(sample[f"{board}effective_samples"]),
        "reconstruction_mse": squared_error,
        "psnr_db": -10.0 * math.log10(squared_error) if squared_error else math.inf,
        "reconstruction_bce_nats": _mean(values["bce"]),
        "probe_accuracy_per_level": probe_accuracies(model, images),
    }
    known = {name: value for name, value in metrics.items() if name not in reasons}
    return known | {"left_out": reasons} if reasons else known


def _reasons(images: Images, squared_error: float) -> dict[str, str]:
    """Which metrics say nothing of these images and this model, and why: a record is without."""
    reasons = {}
    if squared_error == 0.0:
        reasons["psnr_db"] = "every pixel is reconstructed exactly"
    if len(np.unique(images.train_labels)) < 2:
        reasons["probe_accuracy_per_level"] = "the training images are of one class"
    return reasons


def _encoder_nll(found: Found) -> dict[str, Any]:
    """The bound that papers print, by draws from the encoders alone, and how it falls with S."""
    sizes = [size for size in dict.fromkeys((*CURVE, found.samples)) if size <= found.samples]
    bounds = {str(size): found.encoder_nll(size) for size in sizes}
    return {
        **_errors("nll_encoder", bounds[str(found.samples)]),
        "nll_encoder_curve_nats": {size: _mean(bound.values) for size, bound in bounds.items()},
        "encoder_effective_sample_size": _mean(found.sample["encoder_effective_samples"]),
    }


def _errors(name: str, nll: Corrected) -> dict[str, float]:
    """An NLL with its Monte-Carlo and its test-set error."""
    return {
        f"{name}_nats": _mean(nll.values),
        f"{name}_standard_error_nats": nll.monte_carlo_error,
        f"{name}_test_set_error_nats": test_set_error(nll.values),
    }


def _mean(values: Tensor) -> float:
    return float(values.mean())
