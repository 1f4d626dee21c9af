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
LIKELIHOOD = OWN[0]


class Distance(NamedTuple):
    """How far a cell is from what was published of its variant; beside it the cell's NLL."""

    settings: dict[str, Any]
    mean: float
    half_width: float
    published: Published
    nll: float

    @property
    def difference(self) -> float:
        return self.mean - self.published.value

    @property
    def measured(self) -> str:
        """The mean with its interval, where it has one."""
        has_interval = not math.isnan(self.half_width)
        return shown(self.mean, self.half_width) if has_interval else rounded(self.mean, 2)


def distances(study: Study) -> Iterator[Distance]:
    """Of every cell of a variant of which something was published, in the study's order."""
    if not study.design.published or study.runs.empty:
        return
    names = dict.fromkeys([LIKELIHOOD.name, *(p.metric for p in study.design.published)])
    means = summary(study.runs, study.cell, list(names))
    nlls = {
        tuple(row[name] for name in study.cell): float(row["mean"])
        for row in means[means["metric"] == LIKELIHOOD.name].to_dict("records")
    }
    if VARIANT not in means:  # a study of one variant does not vary it
        means[VARIANT] = study.design.variant_of[0]
    for published in study.design.published:
        is_of_it = (means["metric"] == published.metric) & (means[VARIANT] == published.variant)
        for row in means[is_of_it].to_dict("records"):
            cell = tuple(row[name] for name in study.cell)
            settings = dict(zip(study.cell, cell, strict=True))
            nll = nlls.get(cell, math.nan)
            yield Distance(settings, row["mean"], row["half_width"], published, nll)


def distance_table(study: Study) -> Table:
    """A row for each cell that may stand beside something published."""
    rows = [
        [
            *place(study, distance.settings),
            METRICS[distance.published.metric].heading,
            Entry(distance.measured, distance.mean),
            number(distance.published.value, rounded(distance.published.value, 2)),
            number(distance.difference, rounded(distance.difference, 2)),
            number(distance.nll, rounded(distance.nll, 2)),
            distance.published.source,
        ]
        for distance in distances(study)
    ]
    headings = ("metric", "measured", "published", "off by", LIKELIHOOD.heading, "source")
    columns = [*titles_of(study), *headings]
    caption, places = "Beside published numbers", len(study.cell)
    return without_constants(table("published", caption, columns, rows, [NOTE], places))


def nearest(study: Study) -> str:
    """How near each variant came to what was published of it; empty where nothing was."""
    closest: dict[str, Distance] = {}
    for distance in sorted(distances(study), key=lambda d: abs(d.difference)):
        closest.setdefault(distance.published.variant, distance)
    ordered = [closest[p.variant] for p in study.design.published if p.variant in closest]
    if not ordered:
        return ""
    places = [_place(study, distance) for distance in ordered]
    is_one = len(set(places)) == 1
    parts = [
        _in_words(distance, "" if is_one else place)
        for distance, place in zip(ordered, places, strict=True)
    ]
    metric = METRICS[ordered[0].published.metric]
    where = f"At {places[0]} the" if is_one and places[0] else "The"
    sources = "; ".join(dict.fromkeys(distance.published.source for distance in ordered))
    subject = f"{where} {metric.label}, measured against published, in {metric.unit}:"
    return f"{subject} {'; '.join(parts)} ({sources})."


def _place(study: Study, distance: Distance) -> str:
    """The cell but for its variant."""
    factors = [factor for factor in study.factors if factor.name != VARIANT]
    return words(factors, (distance.settings[factor.name] for factor in factors))


def _in_words(distance: Distance, place: str) -> str:
    """`1 level: 95.82 against 86.76, 9.06 above`."""
    side = "above" if distance.difference > 0 else "below"
    off, published = (rounded(v, 2) for v in (abs(distance.difference), distance.published.value))
    cell = ", ".join(filter(None, [distance.published.variant, place]))
    return f"{cell}: {distance.measured} against {published}, {off} {side}"
