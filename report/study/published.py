"""What was published beside what was measured, where a study says whom it follows."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from report.data.design import Published
from report.data.factors import VARIANT, words
from report.data.frames import Study
from report.data.metrics import METRICS, OWN
from report.data.statistics import summary
from report.render.numbers import rounded, shown
from report.render.tables import Entry, Table, number, table
from report.study.cells import place, titles_of, without_constants

NOTE = (
    "Published: the final number of the source, by the metric named, after its own and longer "
    "training. Off by: measured minus published. The distance says how far training got here, not "
    "where it would end."
)


class Beside(NamedTuple):
    """What a cell measured, its place, the number that was published, and the likelihood."""

    settings: dict[str, Any]
    mean: float
    half_width: float
    published: Published
    own: float

    @property
    def distance(self) -> float:
        return self.mean - self.published.value


def beside(study: Study) -> Iterator[Beside]:
    """Every cell of a variant that follows something published, in the order of the studies."""
    if not study.design.published or study.runs.empty:
        return
    own = OWN[0].name
    names = dict.fromkeys([own, *(known.metric for known in study.design.published)])
    means = summary(study.runs, study.cell, list(names))
    likelihoods = {
        tuple(row[name] for name in study.cell): float(row["mean"])
        for row in means[means["metric"] == own].to_dict("records")
    }
    for known in study.design.published:
        is_followed = (means["metric"] == known.metric) & (means[VARIANT] == known.variant)
        for row in means[is_followed].to_dict("records"):
            cell = tuple(row[name] for name in study.cell)
            settings = dict(zip(study.cell, cell, strict=True))
            likelihood = likelihoods.get(cell, math.nan)
            yield Beside(settings, row["mean"], row["half_width"], known, likelihood)


def beside_table(study: Study) -> Table:
    """A row for each cell that may stand beside something published."""
    rows = [
        [
            *place(study, found.settings),
            METRICS[found.published.metric].heading,
            Entry(_measured(found), found.mean),
            number(found.published.value, rounded(found.published.value, 2)),
            number(found.distance, rounded(found.distance, 2)),
            number(found.own, rounded(found.own, 2)),
            found.published.source,
        ]
        for found in beside(study)
    ]
    headings = ("metric", "measured", "published", "off by", OWN[0].heading, "source")
    columns = [*titles_of(study), *headings]
    caption, places = "Beside published numbers", len(study.cell)
    return without_constants(table("published", caption, columns, rows, [NOTE], places))


def nearest(study: Study) -> str:
    """How near each variant came to what was published of it; empty where nothing was."""
    closest: dict[str, Beside] = {}
    for found in sorted(beside(study), key=lambda b: abs(b.distance)):
        closest.setdefault(found.published.variant, found)
    named = [closest[p.variant] for p in study.design.published if p.variant in closest]
    if not named:
        return ""
    parts = [_part(study, found) for found in named]
    metric = METRICS[named[0].published.metric]
    sources = ", ".join(dict.fromkeys(found.published.source for found in named))
    return f"Nearest to {sources}, {metric.heading}: {'; '.join(parts)}."


def _measured(found: Beside) -> str:
    has_interval = not math.isnan(found.half_width)
    return shown(found.mean, found.half_width) if has_interval else rounded(found.mean, 2)


def _part(study: Study, found: Beside) -> str:
    values = [found.settings[factor.name] for factor in study.factors]
    published = rounded(found.published.value, 2)
    side = "above" if found.distance > 0 else "below"
    distance = rounded(abs(found.distance), 2)
    return f"{words(study.factors, values)}: {_measured(found)}, {distance} {side} {published}"
