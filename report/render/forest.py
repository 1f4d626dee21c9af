"""A forest: contrasts with their intervals, a row each, zero in the middle, a panel a metric."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.data.contrasts import Contrast
from report.data.factors import Factor
from report.render.drawing import FAINT, INK, SOFT, facets, row_names
from report.render.panels import Layout, style

LEAST_INCHES = 1.1
BAND: dict[str, Any] = {"color": FAINT, "edgecolor": SOFT, "linewidth": 0.6}


def linear(axes: Axes, contrasts: Sequence[Contrast]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5))


def forest_of(
    contrasts: Sequence[Contrast],
    rows: Sequence[str],
    panels: Sequence[str],
    colour: Callable[[Contrast], int],
    x_label: str = "difference",
    scale: Callable[[Axes, Sequence[Contrast]], None] = linear,
    has_margins: bool = False,
) -> Figure:
    """The forest of contrasts, in the row and the panel of each by name; filled where Holm finds
    them, else over their margin where that is asked."""
    names, headings = (list(dict.fromkeys(texts)) for texts in (rows, panels))
    texts, row_inches = row_names(names, len(headings))
    frame = pd.DataFrame({"contrast": contrasts, "row": rows}, dtype=object)
    frame["panel"] = pd.Categorical([*panels], headings)
    shape = Layout((), (Factor("panel", "", "", tuple(headings)),), is_shared=True)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        scale(axes, part["contrast"].tolist())
        axes.axvline(0.0, color=INK, lw=0.8, zorder=1)
        for contrast, name in zip(part["contrast"], part["row"], strict=True):
            row, known = names.index(name), contrast.estimate
            if has_margins and not contrast.is_clear:
                axes.barh(row, 2 * known.margin, 0.5, -known.margin, zorder=0, **BAND)
            look = style(colour(contrast), dash=int(not contrast.is_clear))
            look |= {"linestyle": "", "capsize": 2.5}
            axes.errorbar(known.mean, row, xerr=known.half_width, **look)
        axes.set_yticks(range(len(names)), texts)
        axes.set_ylim(len(names) - 0.5, -0.5)

    height = LEAST_INCHES + row_inches * len(names)
    return facets(frame, shape, draw, x_label, "", height)
