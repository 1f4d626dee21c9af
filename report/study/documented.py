"""What the documented loss R + 2 Σ K_t charges, and what training with it costs.

Its K_t are closed forms at the sampled z_{t+1}. Beyond one level they average over a fresh z_t
below a prior mean made from the drawn one: their covariance is dropped, and Σ K_t is not the KL of
the joint posterior.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hvae.config import DATASETS
from report.data.frames import Study
from report.data.statistics import FEWEST_SEEDS, against_zero, contrasts
from report.render.numbers import detectable, p_text, shown
from report.study.wording import Finding, held, is_clear, rows_of, too_few, where

CHARGED = ("closed_form_nats", "rate_nats", "excess_nats", "noise_nats")
NEEDED = ("loss_documented", "reconstruction_nats", "rate_nats")
NOISE_FACTOR = 2.0  # a gap counts beyond this many times the noise that the seeds share
OBJECTIVES = ("documented", "elbo")  # in the order in which `contrasts` sorts them


@dataclass(frozen=True)
class Claim:
    """A question and how its answers are worded; `words` are for a gap above and below 0."""

    question: str
    clear: str
    words: tuple[str, str]
    unclear: str


CHARGE = Claim(
    "Is the KL that the documented loss charges that of the joint posterior?",
    "The documented loss charges {size} nats {word} KL than the joint posterior has",
    ("more", "less"),
    "no gap between the KL charged and that of the joint posterior established",
)
COST = Claim(
    "What does the documented objective cost at each depth?",
    "Training with the documented objective {word} {size} nats of NLL against the ELBO objective",
    ("costs", "saves"),
    "no effect of the objective on the NLL established",
)


def charged(study: Study) -> pd.DataFrame:
    """The runs with `closed_form_nats`, Σ K_t, and `excess_nats`, what it has over the joint KL.

    The loss is R + 2 Σ K_t. R is the reconstruction in nats with BCE; with MSE it is the squared
    error, twice these nats without the Gaussian's constant D/2 · log 2π.

    All seeds are evaluated with the same draws, whose noise no interval over seeds can show:
    `noise_nats`, the distance of the rate to −ELBO − R, the record's other estimate of that KL.
    """
    if not set(NEEDED) <= set(study.runs):
        return study.runs.iloc[:0].assign(**dict.fromkeys(CHARGED, 0.0))
    runs = study.runs.dropna(subset=NEEDED)
    nats = runs["reconstruction_nats"].astype(float)
    squared_error = 2 * nats - runs["data"].map(lambda name: DATASETS[name].pixels) * math.log(
        2 * math.pi
    )
    closed_form = (runs["loss_documented"] - nats.where(runs["loss"] == "bce", squared_error)) / 2
    elbo = runs["elbo_nats"].astype(float) if "elbo_nats" in runs else math.nan
    return runs.assign(
        closed_form_nats=closed_form,
        excess_nats=closed_form - runs["rate_nats"],
        noise_nats=(runs["rate_nats"] + elbo + nats).abs(),
    )


def objective_cost(study: Study, metric: str, over: tuple[str, ...] = ()) -> pd.DataFrame:
    """Documented − ELBO objective in a metric, paired by seed, for each cell that has both."""
    if not set(OBJECTIVES) <= set(study.runs["objective"]):
        return study.runs.iloc[:0].assign(difference=0.0, half_width=0.0, n=0)
    runs = study.runs[study.runs["objective"].isin(OBJECTIVES)]
    table = contrasts(runs, "objective", metric, held(study, "objective", *over), over)
    turned = {"difference": -table["difference"], "lower": -table["upper"]}
    return table.assign(**turned, upper=-table["lower"]).query("n > 0")


def charge_finding(study: Study) -> Finding | None:
    """What the closed form charges too much at each depth ≥ 2, latent sizes averaged."""
    runs = charged(study)
    deep, within = runs[runs["depth"] > 1], held(study, "latent")
    if deep.empty:
        return None
    noise = deep.groupby(within, as_index=False)["noise_nats"].mean().fillna(0.0)
    return _answer(CHARGE, against_zero(deep, "excess_nats", within).merge(noise), study)


def cost_finding(study: Study) -> Finding | None:
    """What training with the documented objective costs in NLL, latent sizes averaged."""
    return _answer(COST, objective_cost(study, "nll_nats", ("latent",)), study)


def _answer(claim: Claim, table: pd.DataFrame, study: Study) -> Finding | None:
    if table.empty:
        return None
    if table["n"].max() < FEWEST_SEEDS:
        return Finding(claim.question, (too_few(int(table["n"].max())),))
    said = (_sentence(claim, row, _place(study, row)) for row in rows_of(table))
    return Finding(claim.question, tuple(said))


def _place(study: Study, row: dict[str, Any]) -> str:
    others = {name: value for name, value in row.items() if name != "depth"}
    place = where(study, {**others, "factor": "depth x objective"})
    return f"depth {row['depth']}, {place}"


def _sentence(claim: Claim, row: dict[str, Any], place: str) -> str:
    if row["n"] < FEWEST_SEEDS:
        return f"At {place}: no finding, n = {row['n']} complete paired seeds."
    proof = f"n = {row['n']}, Holm p {p_text(row['holm_p'])}"
    noise = row.get("noise_nats", 0.0)
    if is_clear(row) and abs(row["difference"]) > NOISE_FACTOR * noise:
        size = shown(abs(row["difference"]), row["half_width"])
        word = claim.words[0] if row["difference"] > 0 else claim.words[1]
        return f"{claim.clear.format(size=size, word=word)} at {place} ({proof})."
    size = shown(row["difference"], row["half_width"])
    limit = detectable(max(row["detectable"], NOISE_FACTOR * noise))
    why = ", the Monte-Carlo noise that all seeds share included" if noise else ""
    return (
        f"At {place}: {claim.unclear}, {size} nats ({proof}); gaps under {limit} nats are not "
        f"reliably detectable here{why}."
    )
