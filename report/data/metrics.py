"""What the report knows of each metric: its name to a reader, its unit, what may be compared.

Adding a metric to the tables touches this file only; a record that lacks one shows "–".
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One scalar of a record. `direction`: +1 higher is better, −1 lower, 0 never ranked.

    `is_common`: one yardstick for all likelihoods, so cells of different losses may be ranked.
    """

    name: str
    label: str
    unit: str = ""
    direction: int = 0
    is_common: bool = False

    @property
    def heading(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def title(self) -> str:
        return self.label[0].upper() + self.label[1:]


HEADLINE = (
    Metric("elbo_nats", "ELBO", "nats", +1),
    Metric("nll_nats", "NLL", "nats", -1),
    Metric("scoreboard_nll_nats", "scoreboard NLL", "nats", -1, is_common=True),
    Metric("psnr_db", "PSNR", "dB", +1, is_common=True),
    Metric("reconstruction_mse", "MSE", "per pixel", -1, is_common=True),
)
DETAIL = (
    Metric("loss_documented", "documented loss", "nats"),
    Metric("reconstruction_nats", "reconstruction", "nats"),
    Metric("rate_nats", "rate", "nats"),
    Metric("reconstruction_bce_nats", "reconstruction BCE", "nats"),
    Metric("effective_sample_size", "effective sample size"),
    Metric("train_seconds", "training, share of pack", "s"),
    Metric("evaluate_seconds", "evaluation, share of pack", "s"),
)
METRICS = {metric.name: metric for metric in (*HEADLINE, *DETAIL)}

TASKS = {"train_step": "train", "inference": "inference", "sampling": "sampling"}
HEADLINE_TASKS = ("train_step", "inference")  # the other has its place in the figures and details
LOSS_LABELS = {"bce": "BCE", "mse": "MSE"}
COMMON_NOTE = (
    "Raw ELBO and NLL are never ranked across losses: BCE is a Bernoulli likelihood of the pixels "
    "and MSE a Gaussian density, so their nats have different zero points. Ranking across losses "
    "uses the scoreboard NLL, PSNR and MSE only."
)
SHARE_NOTE = (
    "The training time of a run is an equal share of its pack's time, and so is its evaluation's: "
    "the runs of a pack are trained as one, so their times do not tell them apart."
)
BOLD_NOTE = (
    "Bold: not distinguishable from the best of its group (paired t test over seeds, Holm-adjusted "
    "p ≥ 0.05, at least 3 seeds); the group is the loss for ELBO and NLL, everything else for the "
    "others. Intervals are 95 % t intervals over seeds; a number without ± comes from one run."
)


def axis_label(name: str, value: object) -> str:
    """How a reader names one level of an axis: `latent 20`, `BCE`."""
    if name == "loss":
        return LOSS_LABELS.get(str(value), str(value))
    if name in ("depth", "latent"):
        return f"{name} {value}"
    return str(value) if name in ("objective", "data") else f"{name.replace('_', ' ')} {value}"
