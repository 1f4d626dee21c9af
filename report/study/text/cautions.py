"""What a reader must not overlook: dead levels, likelihoods not to be trusted."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from report.data.frames import Study
from report.data.metrics import ALIVE_NATS
from report.data.statistics import groups
from report.render.numbers import detectable

WIDE_NATS = 1.0  # between the bounds on images that the model drew: more, and the NLL is no number
MOST_VALUES = 2  # of a factor, named where something happens with these alone
MANY_IMAGES = 0.05  # of those sampled: without a Gaussian close to their posterior


class Caution(NamedTuple):
    """Its kind in a word or two, and what was seen."""

    kind: str
    text: str


def cautions(study: Study) -> list[Caution]:
    """Dead levels, and likelihoods that are not to be trusted."""
    dead = [Caution("Dead levels", text) for text in _dead(study)]
    return dead + [Caution("Not to be trusted", text) for text in _untrusted(study)]


def _dead(study: Study) -> list[str]:
    """In how many runs each level is dead, and what these share, by level."""
    levels = study.levels
    if levels.empty or "kl_nats" not in levels:
        return []
    said = []
    for place, part in groups(levels, ["level"]):
        dead = part[part["kl_nats"].astype(float) < ALIVE_NATS]
        if len(dead):
            where = _cells_of(study, dead, part)
            said.append(f"level {place['level']} in {len(dead)} of {len(part)} runs{where}")
    if not said:
        return []
    return [f"{', '.join(said)}: the KL is under {ALIVE_NATS} nats."]


def _untrusted(study: Study) -> list[str]:
    """Why, said once of the same runs."""
    reasons: dict[tuple[str, ...], list[str]] = {}
    for runs, reason in _doubts(study):
        if len(runs):
            reasons.setdefault(tuple(runs["key"]), []).append(reason)
    said = []
    for keys, why in reasons.items():
        runs = study.runs[study.runs["key"].isin(keys)]
        where = _cells_of(study, runs, study.runs)
        count = f"the NLL of {len(runs)} of {len(study.runs)} runs{where}"
        said.append(f"{count}: {', and '.join(why)}.")
    return said


def untrusted(study: Study) -> set[str]:
    """The keys of the runs whose NLL is not to be trusted."""
    return {key for runs, _ in _doubts(study) for key in runs["key"]}


def _doubts(study: Study) -> Iterator[tuple[pd.DataFrame, str]]:
    """Runs whose NLL is bracketed badly, or sampled from encoders for want of a better proposal."""
    runs = study.runs
    if "nll_gap_nats" in runs:
        wide = runs[runs["nll_gap_nats"].astype(float) > WIDE_NATS]
        worst = detectable(float(wide["nll_gap_nats"].max()))
        yield wide, f"its bounds are over {WIDE_NATS:g} nat apart, {worst} at most"
    if {"nll_fallback_images", "nll_images"} <= {*runs}:
        lost = runs[runs["nll_fallback_images"] > MANY_IMAGES * runs["nll_images"]]
        share = f"over {MANY_IMAGES:.0%} of the images"
        yield lost, f"no Gaussian close to the posterior was found for {share}"


def _cells_of(study: Study, runs: pd.DataFrame, among: pd.DataFrame) -> str:
    """Where these runs are, by the factors of which they have few values and others have others."""
    held = {f: [v for v in f.values if v in set(runs[f.name])] for f in study.varying}
    telling = [f for f, values in held.items() if len(values) < among[f.name].nunique()]
    few = [f.listed(held[f], " or ") for f in telling if len(held[f]) <= MOST_VALUES]
    return f" ({', '.join(few)})" if few else ""
