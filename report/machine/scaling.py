"""What a model-step costs as a study grows, as a figure: the JSON document that
`hvae bench --scaling` wrote in, a Figure out."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from report.render.drawing import INK, SOFT, styled
from report.render.panels import PALETTE

HEADINGS = {
    "models": "runs of a pack",
    "depth": "depth (levels)",
    "latent": "latent size (dimensions)",
    "processes": "worker processes",
}
COST = "milliseconds_per_model_step."


def scaling(document: dict[str, Any]) -> Figure:
    """Milliseconds of wall time a model-step against each of what is varied, on one logarithmic
    scale; whiskers are quartiles over the rounds. The dashed line is what would cost in proportion
    to the FLOPs, and among worker processes what would be shared evenly.

    Raises `ValueError` where a cost may not stand on such an axis.
    """
    axes_costs = {name: pd.json_normalize(costs) for name, costs in document["axes"].items()}
    with styled():
        figure = Figure(figsize=(2.3 * len(axes_costs) + 0.5, 2.6), layout="constrained")
        panels = figure.subplots(1, len(axes_costs), sharey=True, squeeze=False)[0]
        for axes, (name, costs) in zip(panels, axes_costs.items(), strict=True):
            _draw(axes, name, costs)
        panels[0].set_ylabel("ms a model-step (log scale)")
        panels[0].set(yscale="log")
        panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        panels[0].yaxis.set_major_formatter("{x:.3g}")
        panels[0].yaxis.set_minor_formatter(NullFormatter())
    return figure


def _draw(axes: Axes, name: str, costs: pd.DataFrame) -> None:
    lower, median, upper = (
        costs[COST + end] for end in ("lower_quartile", "median", "upper_quartile")
    )
    if not (np.isfinite(costs.filter(like=COST)) & (lower.min() > 0)).all(axis=None):
        raise ValueError("its costs are not all positive numbers")
    values = costs["value"]
    divisor, anchor = (values, 0) if name == "processes" else (1, -1)
    shares = costs["flop_per_model_step"] / divisor
    expected = median.iloc[anchor] * shares / shares.iloc[anchor]
    axes.plot(values, expected, color=SOFT, linestyle="--")
    errors = [median - lower, upper - median]
    axes.errorbar(values, median, yerr=errors, color=PALETTE[0], marker="o", ecolor=INK, capsize=2)
    axes.set(xlabel=HEADINGS[name], xscale="linear" if name == "depth" else "log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())


def caption(document: dict[str, Any]) -> str:
    """What was measured, on what, and what the dashed lines are."""
    machine = document["machine"]
    return (
        f"{machine['device_name']}, one thread a process, torch {machine['torch']}; "
        f"{document['engine']} engine, {document['data']}, batch {document['batch_size']}. Points: "
        f"median of {document['rounds']} rounds in random order, whiskers: quartiles. Dashed: in "
        "proportion to the FLOPs from the last point; of worker processes, shared evenly."
    )
