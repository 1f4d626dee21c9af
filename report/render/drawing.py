"""How a figure is drawn and turned into bytes: style, panels, one legend, SVG, PNG, PDF.

Figures are built without pyplot, so nothing is global and no window is ever asked for. Seaborn
draws lines and heat maps; its other plots compute intervals of their own, and ours come from
`report.data.statistics`.
"""

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import AutoLocator
from matplotlib.transforms import Bbox

from report.data.factors import Factor
from report.render.panels import Layout, plain
from report.render.svg import slim

INK, SOFT, FAINT = "#1c1e21", "#54595f", "#c9ccd1"  # in inline SVG the page's own colours
PANEL_WIDTHS = {1: 5.0, 2: 3.5, 3: 2.9}  # inches, by columns; 2.4 beyond
PANEL_HEIGHT = 2.6
LETTER = 0.075  # inches, of a legend's text on average; a sample and its margins take five letters
# Letters as wide as those that were laid out: Verdana's are, where DejaVu is not there.
ATTRIBUTES = """aria-hidden="true" font-family="'DejaVu Sans', Verdana, sans-serif\""""
ROW_INCHES, LINE_INCHES = 0.22, 0.15  # of a row with a name, and of each line more
NAMES_SHARE = 0.45  # of the width, at most
MARGIN = 0.05  # inches, around what stands beside a panel
MOST_COLUMNS = 5
LEAST_PANEL = 2.2  # inches: a figure that may not be wider has fewer columns
PAPER = {"pdf": 6.9, "column.pdf": 3.4}  # inches: the page of a paper, and one of two columns
_width: ContextVar[float] = ContextVar("width", default=math.inf)  # that a figure may take
MOST_PANELS = 60  # nobody reads more
MOST_TICKS = 6  # intervals between them
TICK_WIDTH, LABEL_WIDTH = 14, 32  # letters of words at an axis before they break
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hvae",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # TrueType: publishers refuse matplotlib's Type 3
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

# For `imshow`: every pixel as it is, whatever the size on the screen.
PIXELS: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "none"}


@dataclass(frozen=True)
class Drawing:
    """One figure, its file name, and what a reader must know to read it."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Picture:
    """A drawing as it is shown and written: its content by kind, of svg, png and pdf."""

    name: str
    title: str
    caption: str
    inches: float
    content: Mapping[str, bytes]

    @property
    def svg(self) -> Markup:
        """For a page; our own output, already escaped."""
        return Markup(self.content["svg"].decode())


def picture(drawing: Drawing, kinds: Iterable[str]) -> Picture:
    """The drawing as these kinds of files; its caption says where panels are left out."""
    caption = " ".join(filter(None, (drawing.caption, str(drawing.figure.get_label()))))
    content = {k: svg(drawing).encode() if k == "svg" else image(drawing, k) for k in kinds}
    inches = drawing.figure.get_figwidth()
    return Picture(drawing.name, drawing.title, caption, inches, content)


def svg(drawing: Drawing) -> Markup:
    """Inline SVG: the page's own ink, ids of its own, no date; same data, same bytes. What it is
    called stands around it."""
    buffer = io.StringIO()
    with styled():
        drawing.figure.savefig(buffer, format="svg", transparent=True)
    text = slim(buffer.getvalue(), drawing.name).replace("<svg ", f"<svg {ATTRIBUTES} ", 1)
    # Our own output, already escaped by matplotlib.
    for colour, name in ((INK, "ink"), (SOFT, "soft"), (FAINT, "line")):
        text = text.replace(colour, f"var(--{name})")
    return Markup(text)


def image(drawing: Drawing, kind: str) -> bytes:
    """The figure as a `png` or `pdf` file's content, undated."""
    buffer = io.BytesIO()
    dates = {"CreationDate": None} if kind == "pdf" else {}
    with styled():
        drawing.figure.savefig(buffer, format=kind, dpi=200, facecolor="white", metadata=dates)
    return buffer.getvalue()


@contextmanager
def styled() -> Iterator[None]:
    """Figures of one look; a letter that no font has is a box, and no warning a figure."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


@contextmanager
def no_wider_than(inches: float) -> Iterator[None]:
    """Figures that are drawn in the block are no wider."""
    before = _width.set(inches)
    try:
        yield
    finally:
        _width.reset(before)


def widest() -> float:
    """The inches that a figure may take."""
    return _width.get()


def facets(
    frame: pd.DataFrame,
    layout: Layout,
    draw: Callable[[Axes, pd.DataFrame], None],
    x_label: str,
    y_label: str,
    height: float = PANEL_HEIGHT,
) -> Figure:
    """One panel per combination of the layout's panels that has rows, with one legend for all; of
    too many the first, which the figure's label says."""
    every = layout.groups(frame)
    groups = every[:MOST_PANELS]
    columns = min(len(groups), _across(layout) or (2 if len(groups) in (2, 4) else 3))
    columns = int(max(1, min(columns, _width.get() // LEAST_PANEL)))
    rows = math.ceil(len(groups) / columns)
    with styled():
        width = min(PANEL_WIDTHS.get(columns, 2.4) * columns, _width.get())
        figure = Figure(figsize=(width, height * rows + 0.3))
        if len(groups) < len(every):
            left = "narrow the study, as by --depth or --latent, to see others"
            figure.set_label(f"The first {len(groups)} of {len(every)} panels: {left}.")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=layout.is_shared)
        for axes, (title, part) in zip(grid.flat, groups, strict=False):
            draw(axes, part)
            axes.set_title(title, y=1.0)  # where it is anyway; unsaid, it is searched for
            axes.set(xlabel=x_label, ylabel=textwrap.fill(y_label, LABEL_WIDTH))
            for axis in (axes.xaxis, axes.yaxis):
                if isinstance(locator := axis.get_major_locator(), AutoLocator):
                    locator.set_params(nbins=MOST_TICKS)  # else as many as fit where it will stand
        for axes in grid.flat[len(groups) :]:
            axes.remove()
        lay_out(figure, grid, _legend(figure))
    return figure


def row_names(names: Sequence[str], panels: int) -> tuple[list[str], float]:
    """Names of rows beside so many panels, in lines that leave these most of the width, and the
    inches that a row takes."""
    width = min(PANEL_WIDTHS[1] if panels == 1 else 2 * PANEL_WIDTHS[2], _width.get())
    wrapped = [
        textwrap.fill(name, int(NAMES_SHARE * width / LETTER), break_on_hyphens=False)
        for name in names
    ]
    lines = max(name.count("\n") + 1 for name in wrapped)
    return [plain(name) for name in wrapped], ROW_INCHES + LINE_INCHES * (lines - 1)


def _across(layout: Layout) -> int | None:
    """Two factors make a table of panels: a column for each value of the last."""
    is_table = len(layout.panels) > 1 and layout.panels[-1].name not in layout.merged
    count = len(layout.panels[-1].values) if is_table else 0
    return count if 1 < count <= MOST_COLUMNS else None


def lay_out(figure: Figure, grid: Any, legend: Legend | None) -> None:
    """Give every panel of a grid the same size, and the margins what stands in them, measured once:
    matplotlib's own layouts measure each text ten times, longer than all else takes."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    margins = np.zeros((*grid.shape, 4))  # left, bottom, right, top
    for place, axes in np.ndenumerate(grid):
        if axes.figure is not None:
            texts = [axis.get_tightbbox(renderer) for axis in (axes.xaxis, axes.yaxis)]
            boxes = [axes.bbox, axes.title.get_window_extent(renderer), *filter(None, texts)]
            around = Bbox.union(boxes)
            ends = zip(axes.bbox.extents, around.extents, (1, 1, -1, -1), strict=True)
            margins[place] = [sign * (inner - outer) for inner, outer, sign in ends]
    margins = margins / figure.dpi + MARGIN
    left, right = (margins[..., side].max(0) for side in (0, 2))  # of each column
    bottom, top = (margins[..., side].max(1) for side in (1, 3))  # of each row
    if legend is not None:
        top[0] += legend.get_window_extent(renderer).height / figure.dpi + MARGIN
    (width, height), (rows, columns) = figure.get_size_inches(), grid.shape
    across, up = (width - sum(left + right)) / columns, (height - sum(bottom + top)) / rows
    for (row, column), axes in np.ndenumerate(grid):
        x = left[: column + 1].sum() + right[:column].sum() + column * across
        y = bottom[row:].sum() + top[row + 1 :].sum() + (rows - 1 - row) * up
        if axes.figure is not None:
            axes.set_position((x / width, y / height, across / width, up / height))


def _legend(figure: Figure) -> Legend | None:
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1:
        width = LETTER * (5 + max(map(len, entries)))
        columns = max(1, min(len(entries), int(figure.get_figwidth() / width)))
        # Left, so that a phone shows the legend before a wide figure is scrolled.
        return figure.legend(entries.values(), entries.keys(), loc="upper left", ncols=columns)
    return None


def error_lines(axes: Axes, layout: Layout, part: pd.DataFrame, x: Factor) -> None:
    """Means with their intervals along a factor, apart where they coincide; a mean of one run has
    no bar, and no line joins what has no order."""
    values = [value for value in x.values if value in set(part[x.name])]
    at = dict(zip(values, _places(x, values), strict=True))
    apart = 0.012 * (max(at.values()) - min(at.values()) or 1.0)
    lines = layout.series(part)
    for i, (label, style, rows) in enumerate(lines):
        ordered = rows.sort_values(x.name)
        shift = apart * (i - (len(lines) - 1) / 2)
        places = [at[value] + shift for value in ordered[x.name]]
        ends = ordered[["lower", "upper"]].to_numpy(float).T - ordered["mean"].to_numpy(float)
        look = style if x.is_ordered else style | {"linestyle": ""}
        bars = np.nan_to_num(abs(ends))
        axes.errorbar(places, ordered["mean"], bars, label=label, capsize=2.5, **look)
    texts = [plain(textwrap.fill(x.text(value), TICK_WIDTH)) for value in values]
    turned: dict[str, Any] = {}
    if not x.is_ordered:
        axes.set_xlim(-0.5, len(values) - 0.5)
        letters = sum(2 + max(map(len, text.splitlines())) for text in texts)
        if LETTER * letters > axes.bbox.width / axes.figure.dpi:
            turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    else:
        inches = axes.bbox.width / axes.figure.dpi / (max(at.values()) - min(at.values()) or 1.0)
        texts = _apart(texts, [inches * place for place in at.values()])
    axes.set_xticks(list(at.values()), texts, **turned)


def _apart(texts: Sequence[str], places: Sequence[float]) -> list[str]:
    """Texts at places, in inches and in order, without those that would stand on the one before;
    the last stays."""
    half = [(LETTER * len(text) + MARGIN) / 2 for text in texts]
    kept: list[int] = []
    for i, place in enumerate(places):
        is_last = i == len(places) - 1
        while is_last and kept and place - places[kept[-1]] < half[i] + half[kept[-1]]:
            kept.pop()
        if not kept or place - places[kept[-1]] >= half[i] + half[kept[-1]]:
            kept.append(i)
    return [text if i in kept else "" for i, text in enumerate(texts)]


def _places(x: Factor, values: Sequence[Any]) -> list[float]:
    if not x.is_ordered:
        return [float(place) for place in range(len(values))]
    return [math.log10(value) if x.is_log else float(value) for value in values]


def x_label(x: Factor) -> str:
    """`latent size (dimensions), log scale`."""
    return f"{x.heading}, log scale" if x.is_log else x.heading


def name_points(axes: Axes, rows: pd.DataFrame, factors: Sequence[Factor], x: str, y: str) -> None:
    """The values of factors as small words below and right of the points of rows."""
    for factor in factors:
        for _, row in rows.iterrows():
            text, point = plain(factor.text(row[factor.name])), (row[x], row[y])
            axes.annotate(text, point, (4, -9), textcoords="offset points", fontsize=7)
