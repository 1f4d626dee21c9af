"""Which panels, lines and words a figure has; no drawing here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
LINES = ("-", "--", "-.")  # dotted is what is lost
FILLS = ("full", "none", "bottom")
ROOM = len(PALETTE)  # lines in a panel; more are panels


@dataclass(frozen=True)
class Layout:
    """What the lines of a panel are, and what its panels; `is_shared`: all may have one scale.

    `merged`: values of a panels' factor, which is one of the lines too, that share a panel.
    """

    lines: tuple[Factor, ...]
    panels: tuple[Factor, ...]
    is_shared: bool
    merged: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

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
        parts = frame.groupby([self._panel(frame, factor) for factor in self.panels], observed=True)
        return [(plain(self._title(values)), part) for values, part in parts]

    def _panel(self, frame: pd.DataFrame, factor: Factor) -> pd.Series:
        """In which panel a row stands: merged values in that of the first of them."""
        column = frame[factor.name]
        first, *others = self.merged.get(factor.name, (None,))
        return column.where(~column.isin(others), first) if others else column

    def _title(self, values: Sequence[Any]) -> str:
        """The values of a panel; a merged one's lines say it."""
        place = zip(self.panels, values, strict=True)
        named = [(f, v) for f, v in place if v not in self.merged.get(f.name, ())]
        return words([f for f, _ in named], [v for _, v in named])

    def most(self, frame: pd.DataFrame) -> int:
        """The rows of the fullest panel."""
        return max((len(part) for _, part in self.groups(frame)), default=0)


def plain(text: str) -> str:
    r"""A text as matplotlib draws it as it is: no formula between dollars, and in the legend also
    where it begins like the names that matplotlib gives itself."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def style(colour: int, dash: int) -> dict[str, Any]:
    """How a line and its points look: those of the first kind of line are filled, of the second
    hollow, of the third half filled."""
    place, kind = colour % len(PALETTE), dash % len(LINES)
    look = {"color": PALETTE[place], "marker": MARKERS[place], "linestyle": LINES[kind]}
    filling = "none" if FILLS[kind] == "none" else PALETTE[place]
    filled = {"fillstyle": FILLS[kind], "markerfacecolor": filling}
    return {**look, **filled, "markersize": 4.5, "lw": 1.4}


def layout(study: Study, metric: Metric | None, *inside: Factor, is_split: bool = False) -> Layout:
    """How a figure shows the factors that are not `inside` its panels already.

    Where a metric means something else for another value there are panels, one for all values for
    which it means what it does for the first. The others are lines while there is room: the
    variants first, which one wants to compare, then the ordered axes.
    """
    others = [factor for factor in study.varying if factor not in inside]
    known = study.contrasts
    apart = [f for f in others if metric and not known.is_comparable(f, metric)]
    alike = {f.name: known.like_first(f, metric) for f in apart if metric}
    merged = {name: values for name, values in alike.items() if len(values) > 1}
    lines: list[Factor] = []
    count = 1
    ranked = sorted(others, key=lambda f: (f.name != VARIANT, not f.is_ordered))
    for factor in sorted(ranked, key=lambda f: f in apart):  # these take what room is left
        may_share = factor not in apart or factor.name in merged
        if not is_split and may_share and count * len(factor.values) <= ROOM:
            lines.append(factor)
            count *= len(factor.values)
    lines.sort(key=ranked.index)
    merged = {factor.name: merged[factor.name] for factor in lines if factor.name in merged}
    rest = tuple(f for f in others if f not in lines or f.name in merged)
    return Layout(tuple(lines), rest, not apart and not is_split, merged)


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
