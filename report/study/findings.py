"""Findings: one sentence per question, written from the statistics and never by hand.

Below three paired seeds no finding is stated. A factor that does not vary raises no question.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from report.data.frames import Study
from report.data.metrics import METRICS, Metric, axis_label
from report.data.statistics import FEWEST_SEEDS, contrasts, errors, interactions, top_level_values
from report.render.numbers import detectable, p_text, shown
from report.study.documented import charge_finding, cost_finding
from report.study.wording import GRID, Finding, held, is_clear, rows_of, too_few, where

QUESTIONS = {
    "depth": "Does another level help?",
    "latent": "Does a larger latent space help?",
    "loss": "BCE or MSE?",
    "objective": "What does the training objective change?",
}
OWN = (
    "nll_nats",
    "elbo_nats",
)  # the first that was measured speaks for a likelihood family
COMMON = ("scoreboard_nll_nats", "psnr_db")


def findings(study: Study) -> list[Finding]:
    """Every question this study raises, answered from its finished runs."""
    if study.runs.empty:
        return [Finding("What was found?", ("Nothing yet: no run of this study has finished.",))]
    seeds = int(study.runs.groupby(list(study.cell))["seed"].nunique().max())
    if seeds < FEWEST_SEEDS:
        answer = (
            f"No finding: n = {seeds}, and nothing is claimed from fewer than {FEWEST_SEEDS} "
            "paired seeds. The tables and figures show what was measured."
        )
        return [
            Finding("What was found?", (answer,)),
            *filter(None, [_precision(study)]),
        ]
    found = []
    for factor in study.varying():
        question = QUESTIONS.get(factor, f"What does {factor.replace('_', ' ')} change?")
        tables = [main_effects(study, factor, metric) for metric in metrics_for(study, factor)]
        found.append(_answer(question, [row for t in tables for row in rows_of(t)], study))
    for pair in (("depth", "latent"), ("depth", "loss")):
        found.append(_interaction(study, pair))
    values = top_level_values(study.levels, held(study, "depth", "latent"))
    found.append(_answer("What does the top level buy?", rows_of(values), study))
    found += [charge_finding(study), cost_finding(study), _precision(study)]
    return [finding for finding in found if finding and finding.sentences]


def metrics_for(study: Study, factor: str) -> list[str]:
    """The metrics that may answer a question: a loss is judged by common yardsticks only."""
    own = [name for name in OWN if _is_measured(study, name)][:1]
    common = [name for name in COMMON if _is_measured(study, name)]
    return common if factor == "loss" else own + common[:1]


def main_effects(study: Study, factor: str, metric: str) -> pd.DataFrame:
    """Contrasts of a factor with the other grid axes averaged; own-family metrics within a loss."""
    averaged = [axis for axis in GRID if axis != factor]
    if not METRICS[metric].is_common:
        averaged.remove("loss")
    return contrasts(study.runs, factor, metric, held(study, factor, *averaged), averaged)


def cell_contrasts(study: Study, factor: str, metric: str) -> pd.DataFrame:
    """Contrasts of a factor with every other axis held."""
    return contrasts(study.runs, factor, metric, held(study, factor))


def interaction_table(study: Study, pair: tuple[str, str], metric: str) -> pd.DataFrame:
    """Depth × latent within a loss; depth × loss, for common metrics only, over latent sizes."""
    averaged = ["latent"] if "loss" in pair else []
    return interactions(study.runs, pair, metric, held(study, *pair, *averaged), averaged)


def _is_measured(study: Study, metric: str) -> bool:
    return metric in study.runs and bool(study.runs[metric].notna().any())


def _answer(question: str, rows: list[dict[str, Any]], study: Study) -> Finding | None:
    if not rows:
        return None
    if max(row["n"] for row in rows) < FEWEST_SEEDS:
        return Finding(question, (too_few(max(row["n"] for row in rows)),))
    return Finding(question, tuple(sentence(row, study) for row in rows))


def sentence(row: dict[str, Any], study: Study) -> str:
    """One contrast in words, with its interval, n and adjusted p."""
    subject, place = _subject(row), where(study, row)
    head = f"{subject} ({place})" if place else subject
    if row["n"] < FEWEST_SEEDS:
        return f"{head}: no finding, n = {row['n']} complete paired seeds."
    metric = METRICS.get(row["metric"], Metric("value_nats", "ELBO", "nats"))
    size = shown(_effect(row), row["half_width"])
    proof = f"n = {row['n']}, Holm p {p_text(row['holm_p'])}"
    if row["difference"] == row["detectable"] == 0:
        return f"{head}: the {metric.label} is the same on every seed (n = {row['n']})."
    if not is_clear(row):
        limit = f"{detectable(row['detectable'])} {metric.unit}"
        return (
            f"{head}: no effect on the {metric.label} established, {size} {metric.unit} ({proof}); "
            f"effects under {limit} are not reliably detectable here."
        )
    if row["metric"] == "value_nats":
        verb = "buys" if row["difference"] > 0 else "costs"
        return f"{head} {verb} {size} nats of ELBO ({proof})."
    verb = "raises" if row["difference"] > 0 else "lowers"
    return f"{head} {verb} the {metric.label} by {size} {metric.unit} ({proof})."


def _subject(row: dict[str, Any]) -> str:
    if row["metric"] == "value_nats":
        return f"Level {row['depth']} of {row['depth']}"
    start, end = (axis_label(row["factor"], row[side]) for side in ("from", "to"))
    text = f"{start} → {end.removeprefix(row['factor'] + ' ')}"
    return text[0].upper() + text[1:]


def _effect(row: dict[str, Any]) -> float:
    """The difference; without its sign where the sentence says the direction in words."""
    return abs(float(row["difference"])) if is_clear(row) else float(row["difference"])


def _interaction(study: Study, pair: tuple[str, str]) -> Finding | None:
    """The clear interactions in words, and for the others one sentence with the largest limit."""
    if not set(pair) <= set(study.varying()):
        return None
    rows = [
        row
        for metric in metrics_for(study, "loss" if "loss" in pair else "depth")[:1]
        for row in rows_of(interaction_table(study, pair, metric))
    ]
    question = f"Does the effect of {pair[0]} depend on the {METRICS_OF_AXIS[pair[1]]}?"
    if not rows:
        return None
    if max(row["n"] for row in rows) < FEWEST_SEEDS:
        return Finding(question, (too_few(max(row["n"] for row in rows)),))
    clear = [_interaction_sentence(row, pair, study) for row in rows if is_clear(row)]
    unclear = [row for row in rows if row["n"] >= FEWEST_SEEDS and not is_clear(row)]
    return Finding(question, (*clear, *_no_interaction(unclear, len(rows))))


METRICS_OF_AXIS = {"latent": "latent size", "loss": "loss"}


def _interaction_sentence(row: dict[str, Any], pair: tuple[str, str], study: Study) -> str:
    metric = METRICS[row["metric"]]
    start, end = (axis_label(pair[1], row[side]) for side in ("by_from", "by_to"))
    place = where(study, row)
    more = "higher" if row["difference"] > 0 else "lower"
    return (
        f"The step {pair[0]} {row['from']} → {row['to']} changes the {metric.label} by "
        f"{shown(_effect(row), row['half_width'])} {metric.unit} {more} "
        f"at {end} than at {start} ({f'{place}; ' if place else ''}n = {row['n']}, "
        f"Holm p {p_text(row['holm_p'])})."
    )


def _no_interaction(rows: Sequence[dict[str, Any]], total: int) -> tuple[str, ...]:
    if not rows:
        return ()
    limits = [detectable(pick(row["detectable"] for row in rows)) for pick in (min, max)]
    metric = METRICS[rows[0]["metric"]]
    span = limits[0] if limits[0] == limits[1] else f"{limits[0]} to {limits[1]}"
    return (
        f"No effect established in {len(rows)} of {total} interaction contrasts on the "
        f"{metric.label}; the smallest detectable is {span} {metric.unit}.",
    )


def _precision(study: Study) -> Finding | None:
    """The three errors of a cell's mean, apart: medians over the cells."""
    table = errors(study.runs, study.cell)
    sentences = []
    for metric, group in table.groupby("metric", sort=False):
        parts = [
            f"{name} {detectable(value)} nats"
            for name, value in (
                ("seed to seed", group["seed_error"].median()),
                ("Monte-Carlo", group["monte_carlo_error"].median()),
                ("test images", group["test_set_error"].median()),
            )
            if not math.isnan(value)
        ]
        label = METRICS[str(metric)].label
        low, high = group["n"].min(), group["n"].max()
        n = f"n = {low}" if low == high else f"n = {low} to {high}"
        if parts:
            sentences.append(
                f"Standard errors of a cell's {label}, median over cells: {', '.join(parts)} ({n})."
            )
    return Finding("How sure is a number?", tuple(sentences))
