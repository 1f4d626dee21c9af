"""One record in rows of every kind: the run, its levels, epochs, measurements, what made it."""

import math
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from hvae.config import FEW_SAMPLES, RunConfig
from hvae.records.store import Record
from report.data.metrics import ALIVE_NATS, LEVEL_METRICS, MODULE_TRAINING, rate_name

RATES = (  # of a measurement of throughput
    *("task", "engine", "device", "machine", "batch", "is_own_batch", "is_best_batch", "repeats"),
    *("images_per_second", "lower_quartile", "upper_quartile"),
)
Row = dict[str, Any]


def run_row(record: Record) -> Row:
    """What was measured of a run, but what is by level, epoch or number of samples."""
    run = record.run
    scalars = [n for n, held in record.metrics.items() if not isinstance(held, list | dict)]
    return {
        "flops_per_image": record.flops_per_image,
        "trained_images": run.train.epochs * run.data.dataset.training_images,
        "train_seconds": _seconds(record, "train"),
        "evaluate_seconds": _seconds(record, "evaluate"),
        **_upper_levels(record),
        **{name: number(record, name) for name in scalars},
        **own_rates(record),
    }


def _seconds(record: Record, name: str) -> float:
    held = record.seconds.get(name)
    return math.nan if held is None else float(held)


def _upper_levels(record: Record) -> Row:
    """What needs more than one level: what a living top one adds, and what the closed form
    charges beyond the joint KL. Its noise: the distance of two estimates of that KL, the rate and
    −ELBO − reconstruction, for all seeds are evaluated with the same draws."""
    if record.run.model.num_layers < 2:
        return {}
    rate, elbo, reconstruction = (
        number(record, name) for name in ("rate_nats", "elbo_nats", "reconstruction_nats")
    )
    gains, kl = (
        record.metrics.get(name) or [math.nan] for name in ("level_gain_nats", "kl_per_level_nats")
    )
    top = alive_from(record.run, record.run.model.num_layers)
    is_alive = kl[-1] is not None and kl[-1] >= top  # none of a run that diverged
    return {
        "top_level_gain_nats": gains[-1] if is_alive else math.nan,
        "kl_excess_nats": closed_form_nats(record) - rate,
        "kl_noise_nats": abs(rate + elbo + reconstruction),
    }


def closed_form_nats(record: Record) -> float:
    """Σ K_t on the test set, read back from the documented loss R + 2 Σ K_t; NaN where it cannot.

    K_t are closed forms at the sampled z_{t+1}. Beyond one level they average over a fresh z_t
    below a prior mean made from the drawn one: their covariance is dropped, and Σ K_t is not the
    KL of the joint posterior. R is the reconstruction in nats; with MSE it is the squared error,
    twice these nats without the Gaussian's constant D/2 · log 2π.
    """
    loss, error = (number(record, name) for name in ("loss_documented", "reconstruction_nats"))
    if record.run.train.loss == "mse":
        error = 2 * error - record.run.model.input_dim * math.log(2 * math.pi)
    return (loss - error) / 2


def number(record: Record, metric: str) -> float:
    """A metric of the test set; NaN where it is absent or was no number."""
    held = record.metrics.get(metric)
    return math.nan if held is None else float(held)


def own_rates(record: Record) -> Row:
    """Images per second at the batch size that trains, as scalars."""
    return {
        rate_name(row["task"], row["machine"]): row["images_per_second"]
        for row in throughput_rows(record)
        if row["is_own_batch"]
    }


def level_rows(record: Record) -> Iterable[Row]:
    lists = [record.metrics.get(name) or [] for name in LEVEL_METRICS]
    for level, values in enumerate(zip_longest(*lists), start=1):
        found = dict(zip(LEVEL_METRICS.values(), values, strict=True))
        yield {"level": level, **found, "alive_from_nats": alive_from(record.run, level)}


def alive_from(run: RunConfig, level: int) -> float:
    """The KL from which on a level is called alive: below the top two standard errors more, for
    there it is sampled. Of a unit like its prior the log ratio is ½ (ε² − 1), of variance ½."""
    if level >= run.model.num_layers:
        return ALIVE_NATS
    draws = min(FEW_SAMPLES, run.evaluation.importance_samples) * run.data.dataset.test_images
    return ALIVE_NATS + 2 * math.sqrt(run.model.latents[level - 1] / 2 / draws)


def epoch_rows(record: Record) -> Iterable[Row]:
    is_lost = record.status == "diverged"
    for epoch in record.history:
        kl = enumerate(epoch.get("kl_per_level_nats") or (), start=1)
        yield {
            "epoch": epoch["epoch"],
            "loss_nats": epoch["loss"],
            "is_lost": is_lost,
            "objective_reconstruction": epoch.get("reconstruction_nats"),
            **{f"objective_kl_level_{level}": held for level, held in kl},
        }


def curve_rows(record: Record) -> Iterable[Row]:
    curve = record.metrics.get("nll_encoder_curve_nats") or {}
    return ({"samples": int(samples), "nll_encoder_nats": nats} for samples, nats in curve.items())


def throughput_rows(record: Record) -> Iterable[Row]:
    for measurement in record.throughput.get("measurements", ()):
        is_training = measurement["task"] == "train_step"
        older = {"is_best_batch": False, "engine": "traced" if is_training else "module"}
        known = older | measurement
        if is_training and known["engine"] == "module":
            known["task"] = MODULE_TRAINING
        batch, threads = known["batch_size"], known["threads"]
        named = f"{threads} thread{'' if threads == 1 else 's'}"
        known["machine"] = f"{known['device']}, {known['device_name']}, {named}"
        known |= {"batch": batch, "is_own_batch": batch == record.run.train.batch_size}
        yield {name: known[name] for name in RATES}


def made_by(record: Record) -> Row:
    """What made a record, in one row: data, code, environment, seconds."""
    flags = record.environment.get("flags") or {}
    environment = {k: v for k, v in record.environment.items() if k != "flags"}
    return {
        "data_sha256": record.data_sha256,
        "flags": ", ".join(f"{name} {flags[name]}" for name in sorted(flags)) or None,
        **{f"code_{name}": value for name, value in record.code.items()},
        **environment,
        **{f"{name}_seconds": value for name, value in record.seconds.items()},
    }
