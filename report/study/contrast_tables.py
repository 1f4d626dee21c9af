"""Contrasts and errors of a study laid out as tables."""

from collections.abc import Iterable, Sequence
from itertools import chain

from report.data.contrasts import Contrast, Family
from report.data.frames import Study
from report.data.metrics import HEADLINE, METRICS
from report.data.statistics import errors
from report.render.numbers import ABSENT, at_most, p_text, rounded, shown, two_digits
from report.render.tables import Entry, Table, number, table
from report.study.cells import place, titles_of
from report.study.text.findings import ERRORS, where

COLUMNS = (
    *("contrast", "held", "metric", "n", "difference", "test-set error", "correlation"),
    *("Holm p", "equivalence", "detectable"),
)
CONTRAST_NOTE = (
    "Differences are second minus first, paired by seed, with 95 % t intervals. Test-set error: "
    "the standard error of the difference over test images, of the mean over those seeds whose "
    "values by image lie beside their records. Correlation: of the two sides over seeds, all that "
    "pairing gains. Holm p is adjusted within one question: {question}. Equivalence: the least "
    "margin that two one-sided tests at 0.05 keep the effect within. Detectable: the difference "
    "that a two-sided paired t test at the level of Holm's first step finds with power 0.8 at "
    "this n."
)
QUESTION = (
    "the means of a factor, its contrasts cell by cell, a pair of factors, or a metric against zero"
)
ERROR_NOTE = (
    "Standard errors in nats. Monte-Carlo: of one run, for all are evaluated with the same draws; "
    "what seeds do not share of it is contained in seed to seed. All runs share the test images, "
    "too: more seeds do not shrink their error, and it largely cancels in contrasts."
)


def contrast_table(
    name: str, caption: str, families: Iterable[Family], question: str = QUESTION
) -> Table:
    """A row for each contrast of some families, each of which is one question."""
    rows = map(_row, chain.from_iterable(families))
    return table(name, caption, COLUMNS, rows, [CONTRAST_NOTE.format(question=question)])


def _row(contrast: Contrast) -> Sequence[object]:
    known = contrast.estimate
    return [
        " × ".join(map(str, contrast.steps)) or "against zero",
        where(contrast) or ABSENT,
        contrast.metric.heading,
        known.n,
        Entry(shown(known.mean, known.half_width), known.mean),
        number(contrast.test_set_error, two_digits(contrast.test_set_error)),
        number(known.correlation, rounded(known.correlation, 2)),
        number(contrast.holm_p, p_text(contrast.holm_p).removeprefix("= ")),
        number(known.margin, at_most(known.margin)),
        number(contrast.detectable, two_digits(contrast.detectable)),
    ]


def error_table(study: Study) -> Table:
    """The three standard errors of each cell's mean, apart."""
    kinds = {m.name: m.errors for m in HEADLINE if m.errors and study.shows(m)}
    rows = [
        [
            *place(study, row),
            METRICS[row["metric"]].heading,
            row["n"],
            *(number(row[kind], two_digits(row[kind])) for kind in ERRORS),
        ]
        for row in errors(study.runs, study.cell, kinds).to_dict("records")
    ]
    headings = [*titles_of(study), "metric", "n", *ERRORS.values()]
    title, places = "Three errors of a mean, apart", len(study.cell)
    return table("errors", title, headings, rows, [ERROR_NOTE], places)
