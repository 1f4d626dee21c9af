"""The differences of every cell as a figure: a forest with zero in the middle."""

from report.comparison.answer import place
from report.data.contrasts import Family
from report.render.drawing import Drawing
from report.render.forest import forest_of
from report.render.panels import span

MOST_ROWS = 60


def forest(family: Family, name: str) -> Drawing | None:
    """The difference B − A of a metric in each cell; of too many those that differ most."""
    measured = [contrast for contrast in family if contrast.estimate.n]
    if not measured:
        return None
    order = sorted(range(len(measured)), key=lambda row: -abs(measured[row].estimate.mean))
    rows = [measured[row] for row in sorted(order[:MOST_ROWS])]
    metric = rows[0].metric

    places = [*map(place, rows)]
    named = [  # cells of other images of one name are told apart
        name if places.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(places, start=1)
    ]
    figure = forest_of(rows, named, [metric.heading] * len(rows), lambda contrast: 0, "B − A")
    left = (
        f" The {len(rows)} largest of {len(measured)} cells." if len(rows) < len(measured) else ""
    )
    caption = (
        f"Second minus first, paired by seed ({span([c.estimate.n for c in rows])}); bars: 95 % t "
        f"intervals. Filled: Holm p below 0.05 over the cells, n ≥ 3.{left}"
    )
    return Drawing(name, f"What changes in the {metric.label}", caption, figure)
