"""Contrasts and errors of a study laid out as tables."""

import math
from typing import Any

import pandas as pd

from report.data.frames import Study
from report.data.metrics import METRICS, axis_label
from report.data.statistics import errors
from report.render.numbers import detectable, p_text, shown
from report.render.tables import Entry, Table, frame_table
from report.study.findings import cell_contrasts, interaction_table, main_effects, metrics_for
from report.study.wording import where

PAIRS = (("depth", "latent"), ("depth", "loss"))
CONTRAST_NOTE = (
    "Differences are second minus first, paired by seed, with 95 % t intervals. Holm p is adjusted "
    "within one factor and metric of one table. Detectable: the mean difference a two-sided paired "
    "t test at 0.05 finds with power 0.8 at this n, before the Holm adjustment."
)


def contrast_table(study: Study, is_averaged: bool) -> Table:
    """Main effects and interactions, or the contrasts cell by cell."""
    compute = main_effects if is_averaged else cell_contrasts
    frames = [
        compute(study, factor, metric)
        for factor in study.varying()
        for metric in metrics_for(study, factor)
    ]
    if is_averaged:
        frames += [
            interaction_table(study, pair, metric)
            for pair in PAIRS
            if set(pair) <= set(study.varying())
            for metric in metrics_for(study, "loss" if "loss" in pair else "depth")
            if "latent" in pair or METRICS[metric].is_common
        ]
    records = [row for frame in frames for row in frame.to_dict("records")]
    rows = [_contrast_row(study, {str(k): v for k, v in row.items()}) for row in records]
    name, caption = (
        ("effects", "Main effects and interactions")
        if is_averaged
        else ("contrasts", "Contrasts cell by cell")
    )
    columns = ["contrast", "held", "metric", "n", "difference", "Holm p", "detectable"]
    return frame_table(pd.DataFrame(rows, columns=columns), name, caption, [CONTRAST_NOTE])


def _contrast_row(study: Study, row: dict[str, Any]) -> list[Entry | str | int]:
    is_tested = row["n"] > 1
    return [
        _contrast(row),
        where(study, row) or "–",
        METRICS[row["metric"]].heading,
        row["n"],
        Entry(shown(row["difference"], row["half_width"]), row["difference"]),
        Entry(
            p_text(row["holm_p"]).removeprefix("= ") if is_tested else "–",
            row["holm_p"],
        ),
        Entry(detectable(row["detectable"]) if is_tested else "–", row["detectable"]),
    ]


def _contrast(row: dict[str, Any]) -> str:
    factor, *by = str(row["factor"]).split(" x ")
    start, end = (axis_label(factor, row[side]) for side in ("from", "to"))
    text = f"{start} → {end.removeprefix(factor + ' ')}"
    if by:
        start, end = (axis_label(by[0], row[side]) for side in ("by_from", "by_to"))
        text += f" × {start} → {end.removeprefix(by[0] + ' ')}"
    return text


def error_table(study: Study) -> Table:
    """The three standard errors of each cell's mean, apart."""
    names = [name for name in study.cell if study.status[name].nunique() > 1]
    table = errors(study.runs, study.cell)
    kinds = ["seed_error", "monte_carlo_error", "test_set_error"]
    headings = ["seed to seed", "Monte-Carlo", "test images"]
    rows = [
        [
            *(row[name] for name in names),
            METRICS[row["metric"]].heading,
            row["n"],
            *(_error(float(row[kind])) for kind in kinds),
        ]
        for row in ({str(k): v for k, v in r.items()} for r in table.to_dict("records"))
    ]
    frame = pd.DataFrame(rows, columns=[*names, "metric", "n", *headings])
    note = (
        "Standard errors in nats. Seed to seed contains the Monte-Carlo error. All runs share the "
        "test images: more seeds do not shrink the last one, and it largely cancels in contrasts."
    )
    return frame_table(frame, "errors", "Three errors of a mean, apart", [note])


def _error(value: float) -> Entry:
    return Entry(detectable(value) if not math.isnan(value) else "–", value)
