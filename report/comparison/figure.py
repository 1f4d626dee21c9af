"""The differences of every cell as a figure: a forest with zero in the middle."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from report.comparison.answer import place
from report.data.contrasts import Family
from report.render.drawing import INK, Drawing, facets
from report.render.panels import Layout, plain, span, style

MOST_ROWS = 60
ROW_INCHES, LEAST_INCHES = 0.22, 1.1


def forest(family: Family, name: str) -> Drawing | None:
    """The difference B − A of a metric in each cell; of too many those that differ most."""
    measured = [contrast for contrast in family if contrast.estimate.n]
    if not measured:
        return None
    order = sorted(range(len(measured)), key=lambda row: -abs(measured[row].estimate.mean))
    rows = [measured[row] for row in sorted(order[:MOST_ROWS])]
    metric = rows[0].metric

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        axes.axvline(0.0, color=INK, lw=0.8, zorder=1)
        for height, contrast in enumerate(part["contrast"]):
            known, look = contrast.estimate, style(0, dash=int(not contrast.is_clear))
            width = known.half_width if known.n > 1 else 0.0
            axes.errorbar(known.mean, height, xerr=width, capsize=2.5, **look)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yticks(range(len(rows)), [plain(place(contrast)) for contrast in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)

    frame = pd.DataFrame({"contrast": rows}, dtype=object)
    height = LEAST_INCHES + ROW_INCHES * len(rows)
    figure = facets(frame, Layout((), (), True), draw, f"B − A, {metric.heading}", "", height)
    left = (
        f" The {len(rows)} largest of {len(measured)} cells." if len(rows) < len(measured) else ""
    )
    caption = (
        f"Second minus first, paired by seed ({span([c.estimate.n for c in rows])}); bars: 95 % t "
        f"intervals. Filled: Holm p below 0.05 over the cells, n ≥ 3.{left}"
    )
    return Drawing(name, f"What changes in the {metric.label}", caption, figure)
