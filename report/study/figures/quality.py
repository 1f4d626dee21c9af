"""Figures: DataFrame → matplotlib Figure; writes nothing. A figure without data is left out.

Numbers of one likelihood family (ELBO, NLL, reconstruction) are faceted by loss, each panel with
its own scale, for they are not comparable; panels of a common yardstick share theirs.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter
from seaborn.utils import relative_luminance

from report.data.frames import Study
from report.data.metrics import METRICS
from report.data.statistics import summary
from report.render.drawing import Drawing, error_lines, facets
from report.render.numbers import rounded
from report.render.panels import UNITS, axis_title, interval_note, panel_axes, seed_count, series
from report.study.figures.costs import PRICES, QUALITIES, cost
from report.study.figures.documented import draw_documented
from report.study.figures.throughput import throughput

EVEN_LUMINANCE = 0.179  # black and white have the same contrast on it: 4.58
LEVEL_MAPS = (
    ("kl_nats", "KL per level", "nats per image"),
    ("value_nats", "What levels t to T buy", "nats per image"),
    ("active_units", "Active units per level", "units"),
)


def draw_all(study: Study) -> list[Drawing]:
    """Every figure that the records have data for, in the page's order."""
    made: list[Drawing | None] = [loss_curves(study)]
    for metric in ("elbo_nats", "nll_nats", "scoreboard_nll_nats"):
        made += [against(study, metric, "depth"), against(study, metric, "latent")]
    made += [*draw_documented(study), rate_distortion(study), bound_curve(study)]
    made += [level_map(study, *given) for given in LEVEL_MAPS]
    made += [throughput(study, "depth"), throughput(study, "latent")]
    made += [cost(study, metric, price) for metric in QUALITIES for price in PRICES]
    return [drawing for drawing in made if drawing is not None]


def loss_curves(study: Study) -> Drawing | None:
    """Training objective against epoch; band: lowest to highest seed; diverged runs dotted."""
    frame = study.epochs.dropna(subset="loss_nats")
    if frame["epoch"].nunique() < 2:
        return None
    states = study.status.set_index("key")["status"]
    lost = frame["key"].map(states) == "diverged"

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        for (label, style), group in series(study, part[~lost[part.index]], "depth"):
            _draw_seeds(axes, group, label, style | {"marker": ""})
        limits = axes.get_ylim()
        for (label, style), group in series(study, part[lost[part.index]], "depth"):
            look = style | {"marker": "", "linestyle": ":"}
            for _, run in group.groupby("seed"):
                axes.plot(run["epoch"], run["loss_nats"], label=f"{label}, diverged", **look)
        if not lost[part.index].all():
            axes.set_ylim(limits)  # what diverges may leave the panel, not flatten it
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    figure = facets(frame, panel_axes(study, "latent"), draw, "epoch", "training objective (nats)")
    n = "n = 0" if lost.all() else seed_count(frame[~lost], study.cell)
    caption = f"Mean over seeds ({n}); band: lowest to highest seed. Each panel has its own scale."
    if lost.any():
        caption += " Dotted: diverged runs, one line each; the scale is that of the finished ones."
    return Drawing("loss-curves", "Training objective", caption, figure)


def _draw_seeds(axes: Axes, runs: pd.DataFrame, label: str, style: dict[str, Any]) -> None:
    curve = runs.groupby("epoch")["loss_nats"].agg(["mean", "min", "max"]).astype(float)
    axes.plot(curve.index, curve["mean"], label=label, **style)
    band = {"color": style["color"], "alpha": 0.2, "lw": 0}
    axes.fill_between(curve.index, curve["min"], curve["max"], **band)


def against(study: Study, metric: str, axis: str) -> Drawing | None:
    """A metric against depth or latent size, with intervals, a line per value of the other."""
    hue = "latent" if axis == "depth" else "depth"
    table = summary(study.runs, study.cell, [metric])
    if table.empty or table[axis].nunique() < 2:
        return None
    known = METRICS[metric]

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        error_lines(axes, study, part, axis, hue)

    is_shared = known.is_common or table["loss"].nunique() == 1
    figure = facets(table, panel_axes(study), draw, UNITS[axis], known.heading, is_shared)
    scale = "" if is_shared else "Compare within a panel only: the losses are different families."
    if known.is_common:
        scale = "All panels share one scale: this yardstick is common to all losses."
    title = f"{known.title} against {axis_title(axis)}"
    return Drawing(f"{metric}-{axis}", title, f"{interval_note(table)} {scale}".strip(), figure)


def rate_distortion(study: Study) -> Drawing | None:
    """Reconstruction against rate: the frontier a cell trades on."""
    if not {"rate_nats", "reconstruction_nats"} <= set(study.runs):
        return None
    names = ["rate_nats", "reconstruction_nats"]
    frame = study.runs.dropna(subset=names)
    means = frame.groupby([*study.cell], as_index=False)[names].mean()
    if len(means) < 2:
        return None

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        for (label, style), group in series(study, part, "depth"):
            ordered = group.sort_values("latent")
            axes.plot(
                ordered["rate_nats"],
                ordered["reconstruction_nats"],
                label=label,
                **style,
            )
            for _, row in ordered[ordered["depth"] == means["depth"].min()].iterrows():
                place = (row["rate_nats"], row["reconstruction_nats"])
                axes.annotate(
                    str(row["latent"]),
                    place,
                    (4, 3),
                    textcoords="offset points",
                    fontsize=7,
                )
        axes.xaxis.set_major_locator(MaxNLocator(5))

    figure = facets(means, panel_axes(study), draw, "rate (nats)", "reconstruction (nats)")
    caption = (
        f"Means over seeds ({seed_count(frame, study.cell)}), test set. "
        "Small numbers: the latent size, along the least depth. "
        "Lower left is better. Compare within a panel only."
    )
    return Drawing("rate-distortion", "Rate and distortion", caption, figure)


def bound_curve(study: Study) -> Drawing | None:
    """Importance-weighted NLL against the number of samples S."""
    table = summary(study.curve, [*study.cell, "samples"], ["nll_nats"])
    if table["samples"].nunique() < 2:
        return None

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        axes.set_xscale("log")
        error_lines(axes, study, part, "samples", "depth")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())

    panels = panel_axes(study, "latent")
    figure = facets(table, panels, draw, "importance samples S", "NLL bound (nats)")
    caption = f"{interval_note(table)} A curve still falling at its right end overstates the NLL."
    return Drawing("bound-curve", "How tight the bound is", caption, figure)


def level_map(study: Study, metric: str, title: str, unit: str) -> Drawing | None:
    """Heat map depth × level of a per-level metric, mean over seeds."""
    if metric not in study.levels or study.levels[metric].isna().all():
        return None
    frame = study.levels.astype({metric: float, "level": int})
    ends = {"vmin": min(0.0, frame[metric].min()), "vmax": frame[metric].max()}

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        grid = part.pivot_table(index="depth", columns="level", values=metric, aggfunc="mean")
        shades = sns.color_palette("blend:#eef4fa,#0b4f85", as_cmap=True)
        sns.heatmap(
            grid,
            ax=axes,
            annot=grid.map(cell_text if unit != "units" else count_text, na_action="ignore"),
            fmt="",
            cmap=shades,
            cbar=False,
            **ends,
        )
        _make_legible(axes)
        axes.grid(visible=False)
        axes.tick_params(length=0, rotation=0)

    figure = facets(frame, panel_axes(study, "latent"), draw, "level t", "depth T")
    caption = (
        f"Mean over seeds ({seed_count(frame, study.cell)}), test set, {unit}. "
        "Level 1 is next to the pixels."
    )
    return Drawing(metric.replace("_", "-") + "-per-level", title, caption, figure)


def _make_legible(axes: Axes) -> None:
    """Black or white numbers on a heat map, whichever has more contrast: 4.5 or better."""
    (mesh,) = axes.collections
    is_drawn = ~np.ma.getmaskarray(np.ma.asarray(mesh.get_array())).ravel()
    faces = np.asarray(mesh.get_facecolor())[is_drawn]
    for text, face in zip(axes.texts, faces, strict=True):
        is_light = relative_luminance(tuple(face)) > EVEN_LUMINANCE
        text.set_color("black" if is_light else "white")


def cell_text(value: float) -> str:
    """A value in a heat map: two decimals, one from 10 on; 0.00 below 0.005."""
    return rounded(value, 2 if abs(value) < 10 else 1) if abs(value) >= 0.005 else "0.00"


def count_text(value: float) -> str:
    """A mean count in a heat map: `2`, `5.5`."""
    return rounded(value, 1).removesuffix(".0")
