"""What quality costs: NLL against arithmetic and against measured time, with the Pareto front.

Own-likelihood NLL has a front per loss; the scoreboard NLL is common to all losses, so one front is
drawn in the panels of all.
"""

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from report.data.frames import Study
from report.data.metrics import METRICS
from report.data.statistics import summary
from report.render.drawing import INK, Drawing, facets
from report.render.panels import interval_note, panel_axes, series

QUALITIES = ("nll_nats", "scoreboard_nll_nats")


@dataclass(frozen=True)
class Price:
    """A column of `Study.runs` that quality is paid in; an axis shows it in `unit`s."""

    words: str
    label: str
    note: str
    unit: float = 1.0


PRICES = {
    "flops_per_image": Price(
        "arithmetic",
        "training MFLOP per image",
        "FLOPs: the matrix products of one training step, per image.",
        1e6,
    ),
    "train_seconds": Price(
        "training time",
        "training time (s)",
        "The training time of a run is an equal share of its pack's time: runs trained as one "
        "pack have the same, whatever their loss and latent size.",
    ),
}


def cost(study: Study, metric: str, price: str) -> Drawing | None:
    """NLL against a price: a point per cell, steps through those that no other cell beats."""
    known, paid = METRICS[metric], PRICES[price]
    table = priced(study, metric, price)
    if table.empty or table["price"].nunique() < 2:
        return None
    panels = panel_axes(study)  # the first is the loss
    rivals = [*panels[1:]] if known.is_common else [*panels]

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        best = front(table.merge(part[rivals].drop_duplicates()) if rivals else table)
        _draw_front(axes, best, table["price"].max())
        _name_cells(axes, best[best["loss"].isin(part["loss"])])
        for (label, style), points in series(study, part, "depth"):
            bars = points["half_width"].fillna(0.0)
            look = style | {"linestyle": "", "capsize": 2.5}
            axes.errorbar(points["price"], points["mean"], yerr=bars, label=label, **look)
        axes.xaxis.set_major_locator(MaxNLocator(5))

    figure = facets(table, panels, draw, paid.label, known.heading, known.is_common)
    of = "all losses, drawn in each panel" if known.is_common else "a panel"
    caption = (
        f"{interval_note(table)} A point per cell. Steps: the Pareto front of the means of {of}; "
        "no cell is both cheaper and better than one on it. Small numbers: the latent size of the "
        f"cells on it. {paid.note}"
    )
    name = f"cost-{metric}-{price}".replace("_", "-")
    return Drawing(name, f"{known.title} against {paid.words}", caption, figure)


def priced(study: Study, metric: str, price: str) -> pd.DataFrame:
    """Per cell: n, mean and interval of the metric, and the mean `price` in its axis's unit."""
    cell = [*study.cell]
    table, prices = (summary(study.runs, cell, [name]) for name in (metric, price))
    means = prices[[*cell, "mean"]].rename(columns={"mean": "price"})
    return table.merge(means, on=cell).assign(price=lambda t: t["price"] / PRICES[price].unit)


def front(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other undercuts in both `price` and `mean`, from the cheapest on."""
    ordered = table.sort_values(["price", "mean"], kind="stable")
    best_so_far = ordered["mean"].astype(float).cummin().shift(fill_value=float("inf"))
    return ordered[ordered["mean"] < best_so_far]


def _draw_front(axes: Axes, best: pd.DataFrame, dearest: float) -> None:
    """What a price can buy at best: it stays as it is until a dearer cell is better."""
    prices, means = [*best["price"], dearest], [*best["mean"], best["mean"].iloc[-1]]
    axes.step(prices, means, where="post", color=INK, lw=1.0, label="Pareto front")


def _name_cells(axes: Axes, cells: pd.DataFrame) -> None:
    for price, mean, latent in zip(cells["price"], cells["mean"], cells["latent"], strict=True):
        place = (price, mean)
        axes.annotate(str(latent), place, (4, -9), textcoords="offset points", fontsize=7)
