"""The throughput ladder as a figure: the JSON document of `hvae bench` in, a Figure out."""

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from report.render.drawing import INK, STYLE

BAR, PACKED_BAR = "#9aa7b5", "#0b4f85"
ROOM = 5.0  # right of the longest bar, as a factor of it: the labels stand there


def ladder(document: dict[str, Any]) -> Figure:
    """Model-steps per second of each rung on a logarithmic axis, first rung on top; whiskers are
    quartiles over the rounds, labels the ratios to the documented and to the in-memory loop."""
    rungs = document["rungs"]
    steps = [rung["model_steps_per_second"] for rung in rungs]
    medians = [step["median"] for step in steps]
    whiskers = [
        [step["median"] - step["lower_quartile"] for step in steps],
        [step["upper_quartile"] - step["median"] for step in steps],
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 0.6 + 0.3 * len(rungs)), layout="constrained")
        axes = figure.subplots()
        colours = [PACKED_BAR if rung["kind"] == "pack" else BAR for rung in rungs]
        places = range(len(rungs))
        axes.barh(places, medians, xerr=whiskers, color=colours, ecolor=INK, capsize=2.0)
        for place, rung, step in zip(places, rungs, steps, strict=True):
            end = (step["upper_quartile"], place)
            axes.annotate(
                _label(rung), end, (5, 0), textcoords="offset points", va="center", fontsize=7.5
            )
        axes.set_yticks(places, [rung["title"] for rung in rungs])
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


def _label(rung: dict[str, Any]) -> str:
    documented, in_memory = (
        rung[f"ratio_to_{name}"]["median"] for name in ("documented", "in_memory")
    )
    return f"{documented:.3g}× ({in_memory:.3g}×)"
