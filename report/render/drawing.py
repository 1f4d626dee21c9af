"""How a figure is drawn and turned into bytes: style, panels, one legend, SVG, PNG, PDF.

Figures are built without pyplot, so nothing is global and no window is ever asked for.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.data.frames import Study
from report.render.panels import ORDINARY, panel_title, series
from report.render.svg import slim

INK, FAINT = "#1c1e21", "#c9ccd1"  # replaced by the page's own colours in inline SVG
PANEL_WIDTHS = {1: 5.0, 2: 3.5, 3: 2.9}  # inches, by columns; 2.4 beyond
PANEL_HEIGHT = 2.6
ENTRY_WIDTH = 1.25  # inches, of an entry in the legend: `documented, seed 1` is the longest
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hvae",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.formatter.useoffset": False,  # ticks a reader can read without adding
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    **{f"{name}.color": INK for name in ("text", "xtick", "ytick")},
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
}


@dataclass(frozen=True)
class Drawing:
    """One figure, its file name, and what a reader must know to read it."""

    name: str
    title: str
    caption: str
    figure: Figure


def svg(drawing: Drawing) -> str:
    """Inline SVG: the page's own ink, ids of its own, no date; same data, same bytes."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        drawing.figure.savefig(buffer, format="svg", transparent=True)
    text = slim(buffer.getvalue(), drawing.name)
    return text.replace(INK, "var(--ink)").replace(FAINT, "var(--line)")


def image(drawing: Drawing, kind: str) -> bytes:
    """The figure as a `png` or `pdf` file's content, undated."""
    buffer = io.BytesIO()
    dates = {"CreationDate": None} if kind == "pdf" else {}
    with mpl.rc_context(STYLE):
        drawing.figure.savefig(buffer, format=kind, dpi=200, facecolor="white", metadata=dates)
    return buffer.getvalue()


def facets(
    frame: pd.DataFrame,
    panels: Sequence[str],
    draw: Callable[[Axes, pd.DataFrame], None],
    x_label: str,
    y_label: str,
    is_shared: bool = False,
) -> Figure:
    """One panel per combination of `panels`, with one legend for all."""
    groups = [("", frame)]
    if panels:
        parts = frame.groupby([*panels])
        groups = [(panel_title(panels, values), part) for values, part in parts]
    columns = _column_count(frame, panels, len(groups))
    rows = math.ceil(len(groups) / columns)
    with mpl.rc_context(STYLE):
        size = (PANEL_WIDTHS.get(columns, 2.4) * columns, PANEL_HEIGHT * rows + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=is_shared)
        for axes, (title, part) in zip(grid.flat, groups, strict=False):
            draw(axes, part)
            axes.set(title=title, xlabel=x_label, ylabel=y_label)
        for axes in grid.flat[len(groups) :]:
            axes.remove()
        _legend(figure)
    return figure


def _column_count(frame: pd.DataFrame, panels: Sequence[str], count: int) -> int:
    """A row per loss where latent sizes make the panels, else at most three a row."""
    across = int(frame["latent"].nunique()) if "latent" in panels else 0
    return across if 1 < across <= 5 else min(count, 2 if count in (2, 4) else 3)


def _legend(figure: Figure) -> None:
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1:
        columns = min(len(entries), int(figure.get_figwidth() / ENTRY_WIDTH))
        # Left, so that a phone shows the legend before a wide figure is scrolled.
        figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=columns)


def error_lines(
    axes: Axes, study: Study, part: pd.DataFrame, x: str, hue: str, line: str = "-"
) -> None:
    """Means with their intervals along `x`; a mean of one run has no bar."""
    values = sorted(part[x].unique())
    lines = series(study, part, hue)
    for i, ((label, style), group) in enumerate(lines):
        ordered = group.sort_values(x)
        places = ordered[x]
        if x in ORDINARY:  # evenly spaced, and apart where the means coincide
            places = places.map(values.index) + 0.02 * len(values) * (i - (len(lines) - 1) / 2)
        ends = ordered[["lower", "upper"]].to_numpy(float).T - ordered["mean"].to_numpy(float)
        bars = np.nan_to_num(abs(ends))
        given = style | {"linestyle": line, "capsize": 2.5}
        axes.errorbar(places, ordered["mean"], yerr=bars, label=label, **given)
    if x in ORDINARY:
        axes.set_xticks(range(len(values)), [str(value) for value in values])
