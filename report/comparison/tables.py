"""The tables of a comparison: differences of the cells, seconds, and how the records were made."""

from collections.abc import Iterable

from report.comparison.differences import SECONDS, TIMED, Comparison, Fact
from report.data.contrasts import Contrast, Family
from report.data.metrics import SHARE_NOTE
from report.data.statistics import SIGNIFICANCE
from report.render.numbers import p_text, rounded, shown
from report.render.tables import Entry, Table, number, table
from report.study.cells import own_n, setting

DIFFERENCES_NOTE = (
    "B − A in the mean over paired seeds, with 95 % t intervals; without ± of one "
    "seed. Bold in a page, a star in a text: "
    f"at least 3 seeds and Holm-adjusted p < {SIGNIFICANCE:.2g} over the cells of that metric. "
    "Rate: the KL of the joint posterior; active units: of all levels together."
)
TIMES_NOTE = (
    "Medians and quartiles over pairs. Each side was timed once, at a time of its own: what else "
    "ran on the machine counts, and a ratio near 1 proves nothing."
)


def differences_table(comparison: Comparison, name: str) -> Table:
    """A row for each cell: what it changes in each metric, of the first with its Holm p; none where
    nothing changed."""
    families = [] if comparison.is_unchanged else list(comparison.families.values())
    titles = [family[0].metric.heading for family in families]
    headings = [factor.label for factor in comparison.pairing.factors]
    rows = [_row(contrasts) for contrasts in zip(*families, strict=True)]
    return table(
        name,
        "Differences, B − A",
        [*headings, "n", *titles[:1], "Holm p", *titles[1:]],
        rows,
        [DIFFERENCES_NOTE],
        len(headings),
    )


def _row(contrasts: Family) -> list[object]:
    first, *others = contrasts
    place = [setting(factor, held) for factor, held in first.held]
    p = number(first.holm_p, p_text(first.holm_p).removeprefix("= "))
    n = first.estimate.n
    return [*place, n, _difference(first, n), p, *(_difference(c, n) for c in others)]


def _difference(contrast: Contrast, n: int) -> Entry:
    known = contrast.estimate
    text = f"{shown(known.mean, known.half_width)}{own_n(known.n, n)}"
    return Entry(text, known.mean, contrast.is_clear)


def ratios_table(comparison: Comparison, name: str) -> Table:
    """Seconds, where they can be compared, and rates of B as multiples of A's."""
    left_out = SECONDS.values() if comparison.differs(TIMED) else ()
    rows = [
        [ratio.what, ratio.n, *(Entry(rounded(x, 3), x) for x in ratio[2:])]
        for ratio in comparison.ratios
        if ratio.what not in left_out
    ]
    headings = ["B / A", "pairs", "lower quartile", "median", "upper quartile"]
    return table(name, "Seconds and throughput, B over A", headings, rows, [TIMES_NOTE, SHARE_NOTE])


def facts_table(facts: Iterable[Fact], pairs: int, name: str) -> Table:
    """How the records of both sides were made, what differs first."""
    rows = [
        [
            fact.label,
            fact.a,
            fact.b,
            f"in {fact.differing} of {pairs} pairs" if fact.differing else "no",
        ]
        for fact in sorted(facts, key=lambda fact: not fact.differing)
    ]
    return table(name, "How the records were made", ["what", "A", "B", "differs"], rows)
