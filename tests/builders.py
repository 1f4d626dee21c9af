"""Synthetic records with realistic values, and pictures beside them in the format of the runner.

Workers of tests import this: pandas and matplotlib wait until they are asked for.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hvae.closed_form import parameter_count
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig, as_dict
from hvae.records.standings import survey
from hvae.records.store import Record, Store
from hvae.settings import digest, override
from report.data.design import Design

if TYPE_CHECKING:
    import pytest

    from report.data.frames import Study
    from report.study.pictures.gallery import Gallery

SOURCES = "cd" * 32


AXES: dict[str, Sequence[Any]] = {"depth": (1, 2, 3), "loss": ("bce", "mse"), "latent": (2, 20)}
SMALL = RunConfig(ModelConfig(input_dim=64), TrainConfig(epochs=4), DataConfig(name="digits"))


def design(
    axes: Mapping[str, Sequence[Any]] = AXES,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: int = 3,
    base: RunConfig = SMALL,
) -> Design:
    """A small study on the bundled digits: the product of its axes, variants and seeds."""
    swept = list(product(*axes.values(), variants or {"": {}}, range(seeds)))
    changes = [dict(zip((*axes, "variant", "seed"), values, strict=True)) for values in swept]
    names = tuple(change.pop("variant") for change in changes)
    sets = [(variants or {}).get(name, {}) for name in names]
    runs = tuple(override(base, {**c, **own}) for c, own in zip(changes, sets, strict=True))
    return Design("A & B", "Does <depth> help?", runs, tuple(axes), names if variants else ())


def filled(
    store: Store, asked: Design, changes: Callable[[RunConfig], dict[str, Any]] = lambda run: {}
) -> "Study":
    """The study with every run finished; `changes` are made to the record of a run."""
    for run in asked.runs:
        store.write(record(run, **changes(run)))
    return study_of(store, asked)


def study_of(store: Store, asked: Design) -> "Study":
    """The study as the store has it."""
    from report.data.frames import load

    return load(asked, survey(store, asked.runs, SOURCES), store)


def report_of(store: Store, asked: Design, *formats: str) -> list[Path]:
    """The files of the study's report, written beside its records."""
    from report.study.writer import write_report

    standings = survey(store, asked.runs, SOURCES)
    return write_report(asked, standings, store, store.folder / "report", formats or ("html",))


def leave_out_layout(patch: "pytest.MonkeyPatch") -> None:
    """Figures are not laid out, which takes as long as to draw what is in them, nor fonts cut."""
    patch.setattr("report.render.drawing.lay_out", lambda *given: None)
    leave_fonts_uncut(patch)


def leave_fonts_uncut(patch: "pytest.MonkeyPatch") -> None:
    """A PDF does not cut its fonts to the letters it needs, which takes longer than the rest."""
    from report.render.drawing import STYLE

    patch.setitem(STYLE, "pdf.fonttype", 3)


def record(config: RunConfig, **changes: Any) -> Record:
    """A finished record: depth helps once, latent 20 beats 2, a KL weight of 1 every other, and the
    ELBO the documented objective; the upper levels are nearly dead."""
    depth, latent = config.model.num_layers, config.model.latent_dim
    seed = config.train.seed
    rng = np.random.default_rng([seed, depth, latent, config.train.loss == "mse"])
    shared = np.random.default_rng(seed).normal()  # what pairs the seeds
    quality = 30.0 - 1.5 * min(depth, 2) - 3.0 * math.log(latent) + 0.4 * shared
    quality += abs(math.log(config.train.kl_weight)) - 0.8 * (
        config.train.objective != "documented"
    )
    elbo = -(quality + (40.0 if config.train.loss == "mse" else 0.0)) + 0.05 * rng.normal()
    kl = [3.0 * math.log(latent + 1) / (4.0**level) for level in range(depth)]
    made = Record(
        study="test",
        digest=digest(config),
        config=as_dict(config),
        status="finished",
        data_sha256="ab" * 32,
        code={"version": "0.1.0", "sources_sha256": SOURCES, "git_commit": "e" * 40}
        | {"git_dirty": False},
        environment=ENVIRONMENT,
        parameters=parameter_count(config.model),
        flops_per_image=2 * parameter_count(config.model),
        history=[_epoch(epoch, elbo, kl, config) for epoch in range(1, config.train.epochs + 1)],
        metrics=_metrics(elbo, kl, config, rng),
        throughput={"environment": {}, "measurements": _throughput(depth, rng)},
        seconds={"train": 2.0 * depth + 0.1 * seed, "evaluate": 1.0},
    )
    return dataclasses.replace(made, **changes)


ENVIRONMENT = {
    "python": "3.11.9",
    "torch": "2.13.0",
    "device": "cpu",
    "device_name": "Example CPU",
    "threads": 1,
    "platform": "Linux",
    "flags": {"flush_denormal": True},
}


def _epoch(epoch: int, elbo: float, kl: list[float], config: RunConfig) -> dict[str, Any]:
    reconstruction = -elbo - sum(kl) + 20.0 / epoch
    return {
        "epoch": epoch,
        "loss": reconstruction + 2 * sum(kl),
        "reconstruction_nats": reconstruction,
        "kl_per_level_nats": kl,
        "seconds": 0.5,
    }


def _metrics(
    elbo: float, kl: list[float], config: RunConfig, rng: np.random.Generator
) -> dict[str, Any]:
    depth, latent = config.model.num_layers, config.model.latent_dim
    nll, reconstruction = -elbo - 1.2, -elbo - sum(kl)
    charged = sum(kl) + 0.3 * (depth - 1)  # the closed form drops a covariance per lower level
    squared_error = 2 * reconstruction - config.model.input_dim * math.log(2 * math.pi)
    error = reconstruction if config.train.loss == "bce" else squared_error
    active = [round(latent / 2**level) for level in range(depth)]
    return {
        "loss_documented": error + 2 * charged,
        "elbo_nats": elbo,
        "elbo_standard_error_nats": 0.02,
        "elbo_test_set_error_nats": 0.31,
        "nll_nats": nll,
        "nll_standard_error_nats": 0.01,
        "nll_test_set_error_nats": 0.3,
        "nll_bits_per_dimension": nll / config.model.input_dim / math.log(2),
        "nll_images": 400,
        "nll_fallback_images": 0,
        "nll_gap_nats": 0.1 * depth + 0.01 * rng.normal(),
        "nll_gap_standard_error_nats": 0.04,
        "effective_sample_size": 180.0 / depth + rng.normal(),
        "importance_samples": 1000,
        "nll_encoder_nats": nll + 1.2 / 1000**0.4,
        "nll_encoder_standard_error_nats": 0.01,
        "nll_encoder_test_set_error_nats": 0.3,
        "nll_encoder_curve_nats": {str(s): nll + 1.2 / s**0.4 for s in (1, 10, 100, 1000)},
        "encoder_effective_sample_size": 10.0 + rng.normal(),
        "reconstruction_nats": reconstruction,
        "rate_nats": sum(kl),
        "kl_per_level_nats": kl,
        "kl_per_unit_nats": [[value / latent] * latent for value in kl],
        "active_units_per_level": active,
        "active_units_scale_free_per_level": active,
        "level_gain_nats": [None, *(9.0 / 6.0**t + 0.03 * rng.normal() for t in range(1, depth))],
        "level_gain_test_set_error_nats": [None, *[0.02] * (depth - 1)],
        "scoreboard_nll_nats": 25.0 - math.log(latent) - 0.5 * depth + 0.1 * rng.normal(),
        "scoreboard_nll_standard_error_nats": 0.01,
        "scoreboard_nll_test_set_error_nats": 0.25,
        "scoreboard_fallback_images": 0,
        "scoreboard_effective_sample_size": 310.0,
        "reconstruction_mse": 0.03 / latent**0.3 + 0.0004 * rng.normal(),
        "psnr_db": 15.0 + math.log(latent) + 0.05 * rng.normal(),
        "reconstruction_bce_nats": 18.0 + 0.1 * rng.normal(),
        "probe_accuracy_per_level": [0.95 / (1 + 0.2 * level) for level in range(depth)],
    }


def _throughput(depth: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """At the batch size that trains, and at the best, which for sampling is the same."""
    rates = {
        **{("train_step", "compiled"): 60_000 / depth, ("train_step", "module"): 5_000 / depth},
        **{("inference", "module"): 400_000 / depth, ("sampling", "module"): 900_000},
    }
    return [
        {
            "device": "cpu",
            "device_name": "Example CPU",
            "threads": 1,
            "task": task,
            "engine": engine,
            "batch_size": size,
            "is_best_batch": is_best,
            "images_per_second": rate * (1 + 0.01 * rng.normal()),
            "lower_quartile": rate * 0.98,
            "upper_quartile": rate * 1.02,
            "repeats": 7,
        }
        for (task, engine), rate in rates.items()
        for size, is_best in ((64, task == "sampling"), (1024, True))[: 1 + (task != "sampling")]
    ]


def write_pictures(store: Store, config: RunConfig) -> None:
    """`DIGEST.npz` beside the record: rings that a cell's settings shape, uint8 [..., D]."""
    side = math.isqrt(config.model.input_dim)
    depth, latent = config.model.num_layers, config.model.latent_dim
    across, down = np.meshgrid(*2 * [np.linspace(-1, 1, side)])
    noise = np.random.default_rng([config.train.seed, depth, latent]).random((side, side))

    def ring(size: float, tilt: float, blur: float) -> np.ndarray:
        distance = np.abs(np.hypot(across * (1 + tilt), down) - size)
        shape = np.exp(-((distance / (0.12 + blur)) ** 2)) * (1 - 0.1 * noise)
        return np.round(255 * shape).astype(np.uint8).ravel()

    digits = [ring(0.3 + 0.05 * digit, 0.1 * digit, 0.0) for digit in range(10)]
    blur = 0.3 / latent
    steps = np.linspace(-3, 3, 7)
    np.savez_compressed(
        store.runs / f"{digest(config)}.npz",
        samples=np.stack([ring(0.2 + 0.04 * i, 0.5 - 0.06 * i, blur) for i in range(16)]),
        originals=np.stack(digits),
        reconstructions=np.stack([ring(0.3 + 0.05 * d, 0.1 * d, blur) for d in range(10)]),
        traversals=np.stack(
            [
                np.stack([ring(0.5 + 0.1 * step, 0.0, blur) for step in steps]),
                np.stack([ring(0.5, 0.2 * step, blur) for step in steps]),
            ]
        ),
        traversal_units=np.array([1, 0]),
        upper_traversals=np.tile(ring(0.5, 0.0, blur), (depth - 1, 7, 1)),
        upper_units=np.arange(depth - 1),
        interpolation=np.stack([ring(0.3 + 0.04 * i, 0.0, blur) for i in range(10)]),
        image_shape=np.array([side, side]),
    )


def pictured(store: Store, asked: Design) -> "tuple[Study, Gallery]":
    """A study of finished records, pictures beside each, and its gallery."""
    from report.study.pictures.gallery import read_gallery

    study = filled(store, asked)
    for run in asked.runs:
        write_pictures(store, run)
    return study, read_gallery(store, study)
