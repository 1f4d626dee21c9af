"""What quality costs: NLL against arithmetic and against training time, with the Pareto front.

Training time is priced by the measured throughput, never by the clock of the training, which shows
what else the machine did. Cells whose NLL means the same share a front, drawn in all their panels.
"""

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from report.data.frames import Study
from report.data.metrics import Metric, rate_name
from report.data.statistics import summary
from report.render.drawing import INK, Drawing, facets, name_points
from report.render.panels import interval_note, layout, path_of

LEAST = 1.05  # dearest over cheapest: below, what differs is the noise of the clock
QUALITIES = ("nll_nats", "scoreboard_nll_nats")


@dataclass(frozen=True)
class Price:
    """What quality is paid in: words, the label of its axis, and how it was found."""

    words: str
    label: str
    note: str


PRICES = {
    "arithmetic": Price(
        "arithmetic",
        "arithmetic of the training (FLOP)",
        "FLOPs: the matrix products of all training steps.",
    ),
    "time": Price(
        "training time",
        "training time of one model alone (s)",
        "Training time: the images of all epochs over the measured training rate, at the batch "
        "size that trains, on {machine}.",
    ),
}


def cost(study: Study, metric: Metric, price: str) -> Drawing | None:
    """A metric against a price: a point per cell, steps through those that no other cell beats."""
    paid, machine = PRICES[price], machine_of(study)
    table = priced(study, metric, price, machine) if study.shows(metric) else pd.DataFrame()
    path = path_of(study)
    shape = layout(study, metric, *path)
    if table.empty or shape.most(table) < 2 or table["price"].max() < LEAST * table["price"].min():
        return None
    scope = [name for name in metric.within if table[name].nunique() > 1]

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        best = front(table.merge(part[scope].drop_duplicates()) if scope else table)
        _draw_front(axes, best, table["price"].max())
        for label, style, points in shape.series(part):
            bars = points["half_width"].fillna(0.0)
            look = style | {"linestyle": "", "capsize": 2.5}
            axes.errorbar(points["price"], points["mean"], bars, label=label, **look)
            name_points(axes, points.merge(best), path, "price", "mean")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if price == "arithmetic":
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))

    figure = facets(table, shape, draw, paid.label, metric.heading)
    numbers = "".join(f"Small numbers: the {f.label} of the cells on it. " for f in path)
    caption = (
        f"{interval_note(table)} A point per cell. Steps: the Pareto front of the means of all "
        f"cells that may be compared; none is both cheaper and better than one on it. {numbers}"
        f"{paid.note.format(machine=machine)}"
    )
    name = f"cost-{metric.name}-{price}".replace("_", "-")
    return Drawing(name, f"{metric.title} against {paid.words}", caption, figure)


def priced(study: Study, metric: Metric, price: str, machine: str) -> pd.DataFrame:
    """Per cell: n, mean and interval of the metric, and the mean `price`."""
    rate = study.runs["flops_per_image"]
    if price == "time":
        name, unknown = rate_name("train_step", machine), pd.Series(math.nan, study.runs.index)
        rate = 1 / study.runs.get(name, unknown)
    runs = study.runs.assign(price=study.runs["trained_images"] * rate)
    prices = runs.groupby(study.cell, observed=True)["price"].mean().dropna().reset_index()
    return summary(runs, study.cell, [metric.name]).merge(prices, on=study.cell).merge(study.grid)


def machine_of(study: Study) -> str:
    """The machine on which most runs have a training rate; empty where none has."""
    known = study.throughput[study.throughput["is_own_batch"].eq(True)]
    counts = known.loc[known["task"] == "train_step", "machine"].value_counts()
    return str(counts.index[0]) if len(counts) else ""


def front(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other undercuts in both `price` and `mean`, from the cheapest on."""
    ordered = table.sort_values(["price", "mean"], kind="stable")
    best_so_far = ordered["mean"].astype(float).cummin().shift(fill_value=float("inf"))
    return ordered[ordered["mean"] < best_so_far]


def _draw_front(axes: Axes, best: pd.DataFrame, dearest: float) -> None:
    """What a price can buy at best: it stays as it is until a dearer cell is better."""
    prices, means = [*best["price"], dearest], [*best["mean"], best["mean"].iloc[-1]]
    axes.step(prices, means, where="post", color=INK, lw=1.0, label="Pareto front")
