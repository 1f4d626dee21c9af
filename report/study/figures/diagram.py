"""The deepest models of a study as chains from the pixels up, each level as wide as its KL."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.data.contrasts import LEVELS
from report.data.factors import words
from report.data.frames import Study, is_alive
from report.data.metrics import ALIVE_NATS
from report.data.statistics import groups
from report.render.drawing import (
    INK,
    LETTER,
    LINE_INCHES,
    Drawing,
    row_names,
    styled,
    widest,
)
from report.render.numbers import cell_text, count_text
from report.render.panels import PALETTE, seed_count

MOST_ROWS = 12
ROW_INCHES, STEP_INCHES = 0.75, 1.2
LEAST_AREA, LARGEST_AREA = 12.0, 500.0  # of a circle, in square points
ARROW: dict[str, Any] = {"arrowstyle": "->", "color": INK}
ALIVE: dict[str, Any] = {"color": PALETTE[0]}
DEAD: dict[str, Any] = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.8}


def diagram(study: Study) -> Drawing | None:
    """A row per cell of the greatest depth: x, then a circle per level, its area by the KL."""
    levels = study.levels
    if levels.empty or "kl_nats" not in levels or levels["kl_nats"].isna().all():
        return None
    deepest = levels[levels.groupby("key")["level"].transform("max") == levels["level"].max()]
    others = [factor for factor in study.varying if factor.name != LEVELS]
    every = list(groups(deepest, [factor.name for factor in others]))
    cells = every[:MOST_ROWS]
    names = [words(others, (place[factor.name] for factor in others)) for place, _ in cells]
    most = float(deepest.groupby([*study.cell, "level"], observed=True)["kl_nats"].mean().max())
    count = int(levels["level"].max())
    names, _ = row_names(names, 1)
    letters = max(len(line) for name in names for line in name.splitlines() or [""])
    label = LETTER * letters
    step = min(STEP_INCHES, (widest() - label) / (count + 1))
    is_narrow = step < STEP_INCHES
    row_inches = ROW_INCHES + LINE_INCHES * is_narrow
    with styled():
        size = (label + step * (count + 1), row_inches * len(cells) + 0.4)
        figure = Figure(figsize=size)
        axes = figure.add_axes((label / size[0], 0, 1 - label / size[0], 1))
        axes.set(xlim=(0, count + 1), ylim=(len(cells) + 0.1, -0.4), aspect="auto")
        axes.set_axis_off()
        for level in range(1, count + 1):
            axes.text(level + 0.5, 0, f"level {level}", ha="center", va="center", fontsize=7.5)
        for row, (name, (_, part)) in enumerate(zip(names, cells, strict=True)):
            axes.text(0.25, row + 0.5, name, ha="right", va="center")
            _chain(axes, row + 0.5, part, most, "\n" if is_narrow else ", ")
    shown = pd.concat([part for _, part in cells])
    left = f"The first {len(cells)} of {len(every)} cells. " * (len(cells) < len(every))
    caption = (
        f"{left}Depth {count}, mean over seeds ({seed_count(shown, study.cell)}), test set. Area: "
        "the level's share of the joint KL, which stands below in nats beside its active units; "
        "sampled with draws that all seeds share, below the top it may be negative. Hollow: dead "
        f"in the mean, under {ALIVE_NATS} nats or within its error of them (in how many seeds a "
        "level lives, the table of levels says). The image x is decoded from level 1; each level "
        "is the prior of the one to its left."
    )
    return Drawing("diagram", "Where the code lies", caption, figure)


def _chain(axes: Axes, y: float, part: pd.DataFrame, most: float, between: str) -> None:
    """x and the levels of one cell at height y, `between` the two numbers of a level."""
    axes.text(0.5, y, "x", ha="center", va="center", style="italic")
    names = ["kl_nats", "active_units", "alive_from_nats"]
    means: pd.DataFrame = part.groupby("level")[names].mean()
    for (level, row), lives in zip(means.iterrows(), is_alive(means), strict=True):
        x, nats = float(str(level)) + 0.5, float(row["kl_nats"])
        axes.annotate("", (x - 0.75, y), (x - 0.35, y), arrowprops=ARROW)
        area = max(LEAST_AREA, LARGEST_AREA * nats / most) if lives else LEAST_AREA
        axes.scatter([x], [y], s=area, zorder=2, **(ALIVE if lives else DEAD))
        units = row["active_units"]
        text = cell_text(nats) + (f"{between}{count_text(units)} units" if pd.notna(units) else "")
        axes.text(x, y + 0.3, text, ha="center", va="top", fontsize=7.5)
