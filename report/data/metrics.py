"""What the report knows of each metric: its name to a reader, its unit, what may be compared.

Adding a metric to the tables touches this file only; a record that lacks one shows "–".
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

# Settings that decide what a number means: of one likelihood of the same pixels, of the same test
# images, of the same data, of the same training objective.
DATA = ("data.name", "data.sha256")
IMAGES = (*DATA, "data.binarize")
FAMILY = ("loss", *IMAGES)
TRAINING = (
    *(*FAMILY, "objective", "train.kl_weight", "train.kl_warmup_epochs", "train.free_bits"),
    "train.importance_samples",
)
SAME_NUMBER = 1e-6  # relative: two metrics that differ by rounding in float32 only


@dataclass(frozen=True)
class Metric:
    """One scalar of a run. `direction`: +1 higher is better, −1 lower, 0 never ranked.

    Runs that differ in a setting of `within` are never compared or averaged by it. `errors` are
    the metrics that hold its Monte-Carlo and its test-set error, `noise` one with the Monte-Carlo
    error that all seeds share. Where it is the same number as `unless`, it is not shown, nor where
    no run has less than `below`, nor where any run has `better`.
    """

    name: str
    label: str
    unit: str = ""
    direction: int = 0
    within: tuple[str, ...] = FAMILY
    errors: tuple[str, ...] = ()
    noise: str = ""
    unless: str = ""
    below: float = math.inf
    better: str = ""

    @property
    def heading(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def title(self) -> str:
        return self.label[0].upper() + self.label[1:]

    def is_shown(self, runs: pd.DataFrame) -> bool:
        """Whether any run has it, and it is no second name of another."""
        if self.name not in runs or not (runs[self.name].astype(float) < self.below).any():
            return False
        if self.better in runs and runs[self.better].notna().any():
            return False
        if self.unless not in runs:
            return True
        own, other = (runs[name].to_numpy(float) for name in (self.name, self.unless))
        return not np.allclose(own, other, rtol=SAME_NUMBER, atol=0.0, equal_nan=True)


def _errors(name: str) -> tuple[str, str]:
    return f"{name}_standard_error_nats", f"{name}_test_set_error_nats"


ENCODER_NLL = Metric("nll_encoder_nats", "NLL by the encoders' draws", "nats")
OLDER_NLL = replace(ENCODER_NLL, direction=-1, errors=_errors("nll_encoder"), better="nll_nats")
FEW_EFFECTIVE_SAMPLES = 100  # effective ones: with fewer the NLL deserves a second look
HEADLINE = (
    Metric("elbo_nats", "ELBO", "nats", +1, errors=_errors("elbo")),
    Metric("nll_nats", "NLL", "nats", -1, errors=_errors("nll")),
    OLDER_NLL,
    Metric("effective_sample_size", "effective sample size", below=FEW_EFFECTIVE_SAMPLES),
    Metric(
        *("scoreboard_nll_nats", "scoreboard NLL", "nats", -1, DATA, _errors("scoreboard_nll")),
        unless="nll_nats",
    ),
    Metric("psnr_db", "PSNR", "dB", +1, IMAGES),
)
DETAIL = (
    Metric("nll_bits_per_dimension", "NLL", "bits per dimension", -1),
    Metric("reconstruction_mse", "MSE", "per pixel", -1, IMAGES),
    Metric("loss_documented", "documented loss", "nats"),
    Metric("reconstruction_nats", "reconstruction", "nats"),
    Metric("rate_nats", "rate", "nats"),
    Metric("kl_excess_nats", "excess of the charged KL", "nats", noise="kl_noise_nats"),
    Metric("reconstruction_bce_nats", "reconstruction BCE", "nats"),
    ENCODER_NLL,
    Metric("encoder_effective_sample_size", "effective sample size, encoders"),
    Metric("effective_sample_size", "effective sample size"),
    Metric("nll_gap_nats", "gap of the bounds on model images", "nats"),
    Metric("nll_gap_standard_error_nats", "error of the gap", "nats"),
    Metric("nll_fallback_images", "images without a Gaussian"),
    Metric(
        "scoreboard_effective_sample_size",
        "effective sample size, scoreboard",
        unless="effective_sample_size",
    ),
    Metric(
        *("scoreboard_fallback_images", "images without a Gaussian, scoreboard"),
        unless="nll_fallback_images",
    ),
    Metric("train_seconds", "training, share of pack", "s"),
    Metric("evaluate_seconds", "evaluation, share of pack", "s"),
)
TOP_LEVEL = Metric("top_level_gain_nats", "gain of a living top level", "nats")
LOSS = Metric("loss_nats", "training objective", "nats", within=TRAINING)  # of an epoch
METRICS = {metric.name: metric for metric in (*HEADLINE, *DETAIL, TOP_LEVEL, LOSS)}
# The first that was measured speaks for all.
OWN = [METRICS["nll_nats"], OLDER_NLL, METRICS["elbo_nats"]]
COMMON = [METRICS[name] for name in ("scoreboard_nll_nats", "psnr_db")]
DIFFERENCES = [TOP_LEVEL, METRICS["kl_excess_nats"]]  # compared with zero
SCOPES = tuple(dict.fromkeys(name for metric in METRICS.values() for name in metric.within))

BY_IMAGE = ("nll_nats", "scoreboard_nll_nats")  # also beside the record, for every test image

LEVEL_METRICS = {  # in the record -> in the frame of levels
    "kl_per_level_nats": "kl_nats",
    "active_units_per_level": "active_units",
    "active_units_scale_free_per_level": "active_units_scale_free",
    "level_gain_nats": "gain_nats",
    "level_gain_test_set_error_nats": "gain_test_set_error_nats",
    "probe_accuracy_per_level": "probe_accuracy",
}
ALIVE_NATS = 0.01  # of KL: a level with less is dead

MODULE_TRAINING = "module_train_step"  # not by the engine: eager, as a user would write it
TASKS = {
    **{"train_step": "train", MODULE_TRAINING: "train, plain module"},
    **{"inference": "inference", "sampling": "sampling"},
}
HEADLINE_TASKS = ("train_step", "inference")  # the others are in the figures and details
PER_SECOND = "_images_per_second@"  # between task and machine, in the name of a rate
COMMON_NOTE = (
    "Raw ELBO and NLL are never ranked across losses: BCE is a Bernoulli likelihood of the pixels "
    "and MSE a Gaussian density, so their nats have different zero points. Ranking across losses "
    "uses the scoreboard NLL, the Bernoulli NLL of one fixed binarised test set, PSNR and MSE only."
)
FEW_NOTE = (
    "Effective sample size: how many of the S draws of an image carry its NLL. Where few do, the "
    "true NLL lies lower than the one printed. The gap of the bounds, among the further metrics, "
    "says by how much it can on images that the model drew."
)
NLL_NOTE = (
    "NLL: draws from a Gaussian close to the posterior of each image, on the images of a subset, "
    "and on all others the bound by the encoders' draws, corrected by what it is off by on the "
    "subset. Gap: the mean distance of an upper and a lower bound on log p(x), by the same draws, "
    "on images that the model drew, whose latents are known."
)
SHARE_NOTE = (
    "The training time of a run is an equal share of its pack's time, and so is its evaluation's: "
    "the runs of a pack are trained as one, so their times do not tell them apart."
)
BOLD_NOTE = (
    "Bold: not distinguishable from the best of its group (paired t test over the seeds that both "
    "have, at least 3, Holm-adjusted p ≥ 0.05; that the best was picked by the same numbers is not "
    "adjusted for); a group has one likelihood of the same test images for ELBO and NLL, the same "
    "data for the scoreboard NLL, the same test images for the others. Intervals are 95 % t "
    "intervals over seeds; a number without ± comes from one run."
)


def rate_name(task: str, machine: str) -> str:
    """Of images per second as a metric of a run: it holds all that must not be averaged over."""
    return f"{task}{PER_SECOND}{machine}"
