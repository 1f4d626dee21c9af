"""Contrasts and errors of a study laid out as tables."""

import math
from collections.abc import Iterable

from report.data.contrasts import Contrast
from report.data.frames import Study
from report.data.metrics import HEADLINE, METRICS
from report.data.statistics import errors
from report.render.numbers import ABSENT, detectable, p_text, rounded, shown
from report.render.tables import Entry, Table
from report.study.cells import place, titles_of
from report.study.findings import ERRORS, where

COLUMNS = (
    *("contrast", "held", "metric", "n", "difference", "correlation", "Holm p", "equivalence"),
    "detectable",
)
CONTRAST_NOTE = (
    "Differences are second minus first, paired by seed, with 95 % t intervals. Correlation: of "
    "the two sides over seeds, all that pairing gains. Holm p is adjusted within one question: a "
    "factor, or a pair of factors. Equivalence: the least margin that two one-sided tests at 0.05 "
    "keep the effect within. Detectable: the difference that a two-sided paired t test at the "
    "level of Holm's first step finds with power 0.8 at this n."
)
ERROR_NOTE = (
    "Standard errors in nats. Seed to seed contains the Monte-Carlo error. All runs share the "
    "test images: more seeds do not shrink the last one, and it largely cancels in contrasts."
)


def effects_table(study: Study) -> Table:
    """Main effects, interactions, and what is compared with zero."""
    known = study.contrasts
    families = (*known.effects.values(), *known.interactions.values(), *known.against_zero.values())
    return _table("effects", "Main effects and interactions", families)


def contrasts_table(study: Study) -> Table:
    """Every factor's contrasts, all others held."""
    return _table("contrasts", "Contrasts cell by cell", study.contrasts.by_cell.values())


def _table(name: str, caption: str, families: Iterable[tuple[Contrast, ...]]) -> Table:
    rows = tuple(_row(contrast) for family in families for contrast in family)
    return Table(name, caption, COLUMNS, rows, (CONTRAST_NOTE,))


def _row(contrast: Contrast) -> tuple[Entry, ...]:
    known = contrast.estimate
    steps = " × ".join(map(str, contrast.steps)) or "against zero"
    words = (steps, where(contrast) or ABSENT, contrast.metric.heading)
    return (
        *(Entry(text, text) for text in words),
        Entry(str(known.n), known.n),
        Entry(shown(known.mean, known.half_width), known.mean),
        _number(known.correlation, rounded(known.correlation, 2)),
        _number(contrast.holm_p, p_text(contrast.holm_p).removeprefix("= ")),
        _number(known.margin, detectable(known.margin)),
        _number(contrast.detectable, detectable(contrast.detectable)),
    )


def _number(value: float, text: str) -> Entry:
    return Entry(ABSENT if math.isnan(value) else text, value)


def error_table(study: Study) -> Table:
    """The three standard errors of each cell's mean, apart."""
    kinds = {m.name: m.errors for m in HEADLINE if m.errors and study.shows(m)}
    rows = []
    for record in errors(study.runs, study.cell, kinds).to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        heading = METRICS[row["metric"]].heading
        left = [*place(study, row), Entry(heading, heading), Entry(str(row["n"]), row["n"])]
        rows.append((*left, *(_number(row[kind], detectable(row[kind])) for kind in ERRORS)))
    headings = (*titles_of(study), "metric", "n", *ERRORS.values())
    return Table("errors", "Three errors of a mean, apart", headings, tuple(rows), (ERROR_NOTE,))
