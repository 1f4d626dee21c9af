"""Which panels, lines and words a figure has; no drawing here."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from report.data.frames import Study
from report.data.metrics import axis_label

# Four of Wong (2011, doi:10.1038/nmeth.1618), which colour-blind readers tell apart, and two that
# stay apart from them; each has a contrast of 3 on the light page and on the dark one (tested).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#6048f0", "#3c9ad6")
MARKERS = "osD^vP"
UNITS = {"depth": "depth (levels)", "latent": "latent size (dimensions)"}
ORDINARY = ("depth", "latent")  # axes drawn inside a panel; all others make panels


def series(study: Study, part: pd.DataFrame, hue: str) -> list[Any]:
    """((label, style), rows) per value of `hue`; one value has one look in every figure."""
    values = sorted(study.status[hue].unique())
    styles = {
        value: {
            "color": PALETTE[i % 6],
            "marker": MARKERS[i % 6],
            "markersize": 4.5,
            "lw": 1.4,
        }
        for i, value in enumerate(values)
    }
    return [((axis_label(hue, v), styles[v]), rows) for v, rows in part.groupby(hue)]


def panel_axes(study: Study, *more: str) -> tuple[str, ...]:
    """The axes that make panels: all that vary, but those drawn inside; `more` where they vary."""
    varying = study.varying()
    chosen = [name for name in varying if name not in ORDINARY or name in more]
    return ("loss", *(name for name in chosen if name != "loss"))


def panel_title(panels: Sequence[str], values: Sequence[Any]) -> str:
    """`BCE, latent 20`: what one panel shows."""
    names = dict.fromkeys(("panel", "metric"), "objective")  # named by their value alone
    return ", ".join(
        axis_label(names.get(name, name), v) for name, v in zip(panels, values, strict=True)
    )


def axis_title(axis: str) -> str:
    """How a figure names an axis of the grid."""
    return {"latent": "latent size"}.get(axis, axis)


def seed_count(frame: pd.DataFrame, cell: Sequence[str]) -> str:
    """`n = 5`, or `n = 3 to 5`: the seeds behind the means of the cells."""
    counts = frame.groupby([*cell])["seed"].nunique()
    return span(int(counts.min()), int(counts.max()))


def interval_note(table: pd.DataFrame, of: str = "seeds") -> str:
    """What the means and bars of a figure are, with n."""
    low, high = int(table["n"].min()), int(table["n"].max())
    bars = "bars: 95 % t intervals" if high > 1 else "one run has no interval"
    return f"Mean over {of} ({span(low, high)}); {bars}."


def span(low: int, high: int) -> str:
    """`n = 5`, or `n = 3 to 5`."""
    return f"n = {low}" if low == high else f"n = {low} to {high}"
