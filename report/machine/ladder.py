"""The throughput ladder as a figure: the JSON document of `hvae bench` in, a Figure out."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from report.render.drawing import INK, styled
from report.render.panels import PALETTE

BAR, PACKED_BAR = "#7a8794", PALETTE[0]
ROOM = 5.0  # right of the longest bar, as a factor of it: the labels stand there
RATE = "model_steps_per_second."


def ladder(document: dict[str, Any]) -> Figure:
    """Model-steps per second of each rung on a logarithmic axis, first rung on top; whiskers are
    quartiles over the rounds, labels the ratios to the documented and to the in-memory loop.

    Raises `ValueError` where a rate may not stand on such an axis.
    """
    rungs = pd.json_normalize(document["rungs"])
    rates = rungs.filter(like=RATE)
    if rates.empty or not (np.isfinite(rates) & (rates > 0)).all(axis=None):
        raise ValueError("its rates are not all positive numbers")
    ends = ("lower_quartile", "median", "upper_quartile")
    lower, medians, upper = (rates[RATE + end] for end in ends)
    ratios = rungs[["ratio_to_documented.median", "ratio_to_in_memory.median"]]
    labels = [f"{documented:.3g}× ({in_memory:.3g}×)" for documented, in_memory in ratios.values]
    with styled():
        figure = Figure(figsize=(7.0, 0.6 + 0.3 * len(rungs)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(
            rungs.index,
            medians,
            xerr=[medians - lower, upper - medians],
            color=np.where(rungs["kind"] == "pack", PACKED_BAR, BAR),
            tick_label=rungs["title"],
            ecolor=INK,
            capsize=2.0,
        )
        axes.bar_label(bars, labels, padding=5, fontsize=7.5)
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="model-steps per second (log scale)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(min(medians) / 2, max(medians) * ROOM)
        axes.grid(visible=False, axis="y")
        axes.set_axisbelow(True)
    return figure


def caption(document: dict[str, Any]) -> str:
    """Machine, threads, and how it was measured."""
    machine = document["machine"]
    cores = "" if machine["device"] == "cuda" else f" with {machine['cores']} cores"
    share = min(rung["fraction_of_cores"] for rung in document["rungs"])
    return (
        f"{machine['device_name']}{cores}, one thread a process, torch {machine['torch']}; "
        f"{document['data']}, batch {document['batch_size']}. Bars: median of "
        f"{document['rounds']} rounds in random order, whiskers: quartiles. Labels: times the "
        "documented loop, in brackets times the in-memory one, ratios taken within a round. "
        f"Every rung had at least {share:.0%} of its cores to itself."
    )
