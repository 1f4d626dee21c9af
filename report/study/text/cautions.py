"""What a reader must not overlook: dead levels, likelihoods that nothing certifies."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from report.data.contrasts import Contrast
from report.data.frames import Study, is_alive
from report.data.metrics import ALIVE_NATS
from report.data.statistics import FEWEST_SEEDS, groups
from report.render.numbers import at_most

WIDE_NATS = 1.0  # between the bounds on images that the model drew: more certifies nothing
DOUBT = "not certified"
MOST_VALUES = 2  # of a factor, named where something happens with these alone
MANY_IMAGES = 0.05  # of those sampled: without a Gaussian close to their posterior


class Caution(NamedTuple):
    """Its kind in a word or two, and what was seen."""

    kind: str
    text: str


def cautions(study: Study) -> list[Caution]:
    """Dead levels, and likelihoods that nothing certifies."""
    dead = [Caution("Dead levels", text) for text in _dead(study)]
    return dead + [Caution(DOUBT.capitalize(), text) for text in _uncertified(study)]


def _dead(study: Study) -> list[str]:
    """In how many runs each level is dead, and what these share, by level."""
    levels = study.levels
    if levels.empty or "kl_nats" not in levels:
        return []
    said = []
    for place, part in groups(levels, ["level"]):
        dead = part[~is_alive(part) & part["kl_nats"].notna()]
        if len(dead):
            where = _cells_of(study, dead, part)
            said.append(f"level {place['level']} in {len(dead)} of {len(part)} runs{where}")
    if not said:
        return []
    return [f"{', '.join(said)}: the KL is under {ALIVE_NATS} nats, its error allowed for."]


def _uncertified(study: Study) -> list[str]:
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


def is_certified(study: Study, contrast: Contrast) -> bool:
    """False of the NLL where at an end most runs' is not certified, or the bounds are further apart
    than what is said: by how much the ends differ, or at most may. Of equal ends nothing is left
    to certify, and of too few seeds nothing is said."""
    is_told = contrast.estimate.n >= FEWEST_SEEDS and not contrast.is_equal
    if contrast.metric.name != "nll_nats" or not contrast.steps or not is_told:
        return True
    known, ends = contrast.estimate, [step.factor.name for step in contrast.steps]
    is_there = [study.runs[factor.name] == value for factor, value in contrast.held]
    is_there += [study.runs[s.factor.name].isin([s.start, s.end]) for s in contrast.steps]
    doubted = {key for lost, _ in _doubts(study) for key in lost["key"]}
    runs = study.runs.assign(is_doubted=study.runs["key"].isin(doubted), gap=_gaps(study.runs))
    means = runs[np.logical_and.reduce(is_there)].groupby(ends, observed=True)
    said = abs(known.mean) if contrast.is_clear else known.margin
    is_known = means["is_doubted"].mean().max() <= 0.5
    return bool(is_known and not means["gap"].mean().max() > said)


def _doubts(study: Study) -> Iterator[tuple[pd.DataFrame, str]]:
    """Runs whose NLL is bracketed badly, or sampled from encoders for want of a better proposal."""
    runs = study.runs
    gaps = _gaps(runs)
    drawn = f"on images that the model drew its bounds are over {WIDE_NATS:g} nat apart"
    yield runs[gaps > WIDE_NATS], f"{drawn}, up to {at_most(float(gaps.max()))}"
    if {"nll_fallback_images", "nll_images"} <= {*runs}:
        lost = runs[runs["nll_fallback_images"] > MANY_IMAGES * runs["nll_images"]]
        share = f"{_between(lost['nll_fallback_images'])} of {_between(lost['nll_images'])} images"
        yield lost, f"for {share} it is the encoders' bound, for want of a closer Gaussian"


def _gaps(runs: pd.DataFrame) -> "pd.Series[float]":
    """How far the bounds of each run are apart; NaN where that was not measured."""
    unknown = pd.Series(np.nan, runs.index)
    return runs.get("nll_gap_nats", unknown).astype(float)


def _between(counts: "pd.Series[float]") -> str:
    """`390`, or `391 to 397`."""
    low, high = counts.min(), counts.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _cells_of(study: Study, runs: pd.DataFrame, among: pd.DataFrame) -> str:
    """Where these runs are, by the factors of which they have few values and others have others."""
    held = {f: [v for v in f.values if v in set(runs[f.name])] for f in study.varying}
    telling = [f for f, values in held.items() if len(values) < among[f.name].nunique()]
    few = [f.listed(held[f], " or ") for f in telling if len(held[f]) <= MOST_VALUES]
    return f" ({', '.join(few)})" if few else ""
