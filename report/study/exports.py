"""What leaves the page for a paper or another program: a narrow table, and every frame as CSV."""

from collections.abc import Sequence
from itertools import chain

import pandas as pd

from hvae.settings import value
from report.data.contrasts import Contrast
from report.data.frames import Study
from report.data.metrics import COMMON, DETAIL, HEADLINE, OWN
from report.render.tables import Table, csv
from report.study.cells import cells, cells_table
from report.study.text.findings import where
from report.study.text.setup import setup

PAPER_BOLD = "Bold: not distinguishable from the best (paired t test over seeds, Holm p ≥ 0.05)."
PAPER_BOLD_APART = (
    "Bold: not distinguishable from the best of its likelihood and images (paired t test over "
    "seeds, Holm p ≥ 0.05); ELBO and NLL are not ranked across these."
)
OWN_IMAGES = "data.sha256"  # empty where the images are a dataset's
INTERVAL_NOTE = "Intervals: 95 % t over seeds."
OF_CONTRASTS = (
    *("contrast", "held", "metric", "unit", "n", "difference", "lower", "upper", "p", "holm_p"),
    *("equivalence_margin", "detectable", "test_set_error"),
)


def paper_table(study: Study, columns: Sequence[str] = ()) -> Table:
    """A row per cell with the metrics of these names; by default the likelihood, and the number by
    which losses are ranked. Raises `ValueError` on a metric that no run has."""
    known = {metric.name: metric for metric in (*HEADLINE, *DETAIL) if study.shows(metric)}
    for name in columns:
        if name not in known:
            allowed = ", ".join(known) or "none, for no run has finished"
            raise ValueError(f"columns: {name!r} is not allowed; allowed: {allowed}")
    usual = [next((m for m in kind if m.name in known), None) for kind in (OWN, COMMON)]
    chosen = [known[name] for name in columns] or [metric for metric in usual if metric]
    tidy = cells(study, chosen, has_throughput=False)
    scopes = {name for metric in chosen for name in metric.within}
    is_apart = any(len({value(run, n) for run in study.design.runs}) > 1 for n in scopes)
    notes = [PAPER_BOLD_APART if is_apart else PAPER_BOLD] if tidy["is_best"].any() else []
    notes += [INTERVAL_NOTE] if tidy["half_width"].notna().any() else []
    caption = f"{study.design.question} {setup(study)}".strip()
    return cells_table(tidy, study, study.design.name, caption, notes, has_parameters=False)


def csv_files(study: Study) -> dict[str, bytes]:
    """Every frame of the study by the name of its file; units are in the names of columns or
    metrics, or beside them."""
    frames = {
        "cells": cells(study).drop(columns="heading"),
        "runs": long_runs(study),
        "contrasts": contrasts(study),
        "levels": study.levels,
        "curves": study.curve,
        "history": study.epochs.assign(is_lost=study.epochs["is_lost"].astype(bool)),
    }
    own = [] if study.grid[OWN_IMAGES].any() else [OWN_IMAGES]
    return {
        f"{name}.csv": csv(frame.drop(columns=own, errors="ignore"))
        for name, frame in frames.items()
    }


def long_runs(study: Study) -> pd.DataFrame:
    """One row per scalar of a finished run; a run without numbers has one empty row."""
    place = ["key", *study.cell, "seed"]
    scalars = [name for name in study.runs if name not in study.status]
    values = study.runs.melt(["key", *study.cell], scalars, "metric")
    return study.status[[*place, "status"]].merge(values, on=["key", *study.cell], how="left")


def contrasts(study: Study) -> pd.DataFrame:
    """Every comparison of the study: main effects, interactions, cell by cell, against zero."""
    known = study.contrasts
    kinds = {
        "main effect": known.effects.values(),
        "interaction": known.interactions.values(),
        "cell by cell": known.by_cell.values(),
        "against zero": known.against_zero.values(),
    }
    rows = [
        {"kind": kind, **_row(contrast)}
        for kind, families in kinds.items()
        for contrast in chain.from_iterable(families)
    ]
    return pd.DataFrame(rows, columns=["kind", *OF_CONTRASTS])


def _row(contrast: Contrast) -> dict[str, object]:
    known = contrast.estimate
    values = (
        " × ".join(map(str, contrast.steps)),
        where(contrast),
        contrast.metric.name,
        contrast.metric.unit,
        known.n,
        known.mean,
        known.mean - known.half_width,
        known.mean + known.half_width,
        known.p,
        contrast.holm_p,
        known.margin,
        contrast.detectable,
        contrast.test_set_error,
    )
    return dict(zip(OF_CONTRASTS, values, strict=True))
