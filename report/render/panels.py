"""Which panels, lines and words a figure has; no drawing here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pandas as pd

from report.data.factors import VARIANT, Factor, words
from report.data.frames import Study
from report.data.metrics import Metric

# Four of Wong (2011, doi:10.1038/nmeth.1618), which colour-blind readers tell apart, and two that
# stay apart from them; each has a contrast of 3 on the light page and on the dark one (tested).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#6048f0", "#3c9ad6")
MARKERS = "osD^vP"
LINES = ("-", "--", ":")
ROOM = len(PALETTE)  # lines in a panel; more are panels


@dataclass(frozen=True)
class Layout:
    """What the lines of a panel are, and what its panels; `is_shared`: all may have one scale."""

    lines: tuple[Factor, ...]
    panels: tuple[Factor, ...]
    is_shared: bool

    def series(self, part: pd.DataFrame) -> list[tuple[str, dict[str, Any], pd.DataFrame]]:
        """(label, style, rows) for each line that has rows: the colour and marker are those of the
        first factor's value, the dashes those of the others'."""
        if not self.lines:
            return [("", style(0, 0), part)] if len(part) else []
        first, *others = self.lines
        dashes = list(product(*(factor.values for factor in others)))
        groups = part.groupby([factor.name for factor in self.lines], observed=True)
        return [
            (
                plain(words(self.lines, values)),
                style(first.values.index(values[0]), dashes.index(tuple(values[1:]))),
                rows,
            )
            for values, rows in groups
        ]

    def groups(self, frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """(title, rows) of each panel that has rows: `BCE, latent size 20`."""
        if not self.panels:
            return [("", frame)]
        parts = frame.groupby([factor.name for factor in self.panels], observed=True)
        return [(plain(words(self.panels, values)), part) for values, part in parts]

    def most(self, frame: pd.DataFrame) -> int:
        """The rows of the fullest panel."""
        return max((len(part) for _, part in self.groups(frame)), default=0)


def plain(text: str) -> str:
    r"""A text as matplotlib draws it as it is: no formula between dollars, and in the legend also
    where it begins like the names that matplotlib gives itself."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def style(colour: int, dash: int) -> dict[str, Any]:
    """How a line and its points look: only the first kind of line has filled points."""
    place = colour % len(PALETTE)
    look = {"color": PALETTE[place], "marker": MARKERS[place], "linestyle": LINES[dash % 3]}
    filling = "none" if dash else PALETTE[place]
    return {**look, "markersize": 4.5, "markerfacecolor": filling, "lw": 1.4}


def layout(study: Study, metric: Metric | None, *inside: Factor, is_split: bool = False) -> Layout:
    """How a figure shows the factors that are not `inside` its panels already.

    Where a metric means something else for another value there are panels. The others are lines
    while there is room: the variants first, which one wants to compare, then the ordered axes.
    """
    others = [factor for factor in study.varying if factor not in inside]
    apart = [f for f in others if metric and not study.contrasts.is_comparable(f, metric)]
    lines: list[Factor] = []
    count = 1
    for factor in sorted(others, key=lambda f: (f.name != VARIANT, not f.is_ordered)):
        if not is_split and factor not in apart and count * len(factor.values) <= ROOM:
            lines.append(factor)
            count *= len(factor.values)
    rest = tuple(f for f in others if f not in lines)
    return Layout(tuple(lines), rest, not apart and not is_split)


def horizontal(study: Study) -> list[Factor]:
    """What a metric is drawn against: each ordered axis; where none varies, what does."""
    ordered = [factor for factor in study.varying if factor.is_ordered]
    return ordered or study.varying[-1:]


def path_of(study: Study) -> list[Factor]:
    """The factor whose values are small numbers at the points of a figure: the last ordered one, if
    there is one."""
    return [factor for factor in study.varying if factor.is_ordered][-1:]


def seed_count(frame: pd.DataFrame, cell: Sequence[str]) -> str:
    """`n = 5`, or `n = 3 to 5`: the seeds behind the means of the cells."""
    return span(frame.groupby([*cell], observed=True)["seed"].nunique())


def interval_note(table: pd.DataFrame) -> str:
    """What the means and bars of a figure are, with n."""
    bars = "bars: 95 % t intervals" if table["n"].max() > 1 else "one run has no interval"
    return f"Mean over seeds ({span(table['n'])}); {bars}."


def span(counts: Collection[int]) -> str:
    """`n = 5`, or `n = 3 to 5`."""
    low, high = min(counts), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"
