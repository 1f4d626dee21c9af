"""Figures: DataFrame → matplotlib Figure; writes nothing. A figure without data is left out.

What means something else for another value of a factor (ELBO, NLL and reconstruction for another
loss) has panels with scales of their own; what may be compared stands in one panel.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from report.data.contrasts import LEVELS
from report.data.factors import Factor
from report.data.frames import Study
from report.data.metrics import LOSS, METRICS, Metric
from report.data.statistics import summary
from report.render.drawing import INK, Drawing, error_lines, facets, name_points, x_label
from report.render.numbers import cell_text, count_text
from report.render.panels import interval_note, layout, path_of, plain, seed_count

SHADES = "blend:#eef4fa,#3d87c4"  # black has a contrast of 5 or more on all of them
LEAST_DARK = 0.1  # nats or units that may be the darkest: what is all noise around 0 stays light
ROW_INCHES = 0.3  # of a heat map
EXCESS_NOTE = (
    "Above 0 the documented loss charges more KL than the joint posterior has: the covariance that "
    "its closed form drops, which takes more than one level."
)


def loss_curves(study: Study) -> Drawing | None:
    """Training objective against epoch; band: lowest to highest seed; diverged runs dotted."""
    frame = study.epochs.dropna(subset="loss_nats")
    if frame["epoch"].nunique() < 2:
        return None
    lost = frame["is_lost"].astype(bool)
    shape = layout(study, LOSS)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        is_lost = lost[part.index]
        place: dict[str, Any] = {"x": "epoch", "ax": axes, "estimator": None, "legend": False}
        for label, style, group in shape.series(part[~is_lost]):
            look = style | {"marker": "", "label": label}
            # seaborn's own intervals call pandas once an epoch, which takes longer than the figure.
            seeds = group.groupby("epoch")["loss_nats"].agg(["mean", "min", "max"]).reset_index()
            sns.lineplot(seeds, y="mean", **place, **look)
            band = (seeds["epoch"], seeds["min"], seeds["max"])
            axes.fill_between(*band, color=style["color"], alpha=0.2, lw=0)
        finished = axes.dataLim.intervaly.copy()
        for label, style, group in shape.series(part[is_lost]):
            look = style | {"marker": ".", "markersize": 3, "linestyle": ":"}
            look["label"] = f"{label} diverged".strip()
            sns.lineplot(group, y="loss_nats", units="key", **place, **look)
        if not (lost if shape.is_shared else is_lost).all():
            axes.dataLim.intervaly = finished  # what diverges may leave the panel, not flatten it
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    figure = facets(frame, shape, draw, "epoch", LOSS.heading)
    n = "n = 0" if lost.all() else seed_count(frame[~lost], study.cell)
    caption = f"Mean over seeds ({n}); band: lowest to highest seed."
    if lost.any():
        caption += " Dotted: diverged runs, one line each; the scale is that of the finished ones."
    return Drawing("loss-curves", LOSS.title, caption, figure)


def against(study: Study, metric: Metric, x: Factor) -> Drawing | None:
    """A metric against a factor along which it may be compared, with intervals."""
    if not (study.shows(metric) and study.contrasts.is_comparable(x, metric)):
        return None
    table = summary(study.runs, study.cell, [metric.name])
    if table[x.name].nunique() < 2:
        return None
    shape = layout(study, metric, x)
    is_difference = metric.noise != ""

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        if is_difference:
            axes.axhline(0.0, color=INK, lw=0.8, zorder=1)
        error_lines(axes, shape, part, x)

    figure = facets(table, shape, draw, x_label(x), metric.heading)
    caption = interval_note(table)
    if shape.panels:
        shared = "All panels share one scale: this yardstick is common to them."
        own = "Compare within a panel only: the numbers of another mean something else."
        caption += f" {shared if shape.is_shared else own}"
    if is_difference:
        caption += f" {EXCESS_NOTE}"
    return Drawing(f"{metric.name}-{x.name}", f"{metric.title} against {x.label}", caption, figure)


def rate_distortion(study: Study) -> Drawing | None:
    """Reconstruction against rate: the frontier a cell trades on."""
    rate, error = METRICS["rate_nats"], METRICS["reconstruction_nats"]
    if not (study.shows(rate) and study.shows(error)):
        return None
    names = [rate.name, error.name]
    frame = study.runs.dropna(subset=names)
    means = frame.groupby(study.cell, as_index=False, observed=True)[names].mean()
    path = path_of(study)
    shape = layout(study, error, *path)
    if shape.most(means) < 2:
        return None

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        lines = shape.series(part)
        for label, style, group in lines:
            axes.plot(group[rate.name], group[error.name], label=label, **style)
        name_points(axes, lines[0][-1], path, rate.name, error.name)
        axes.xaxis.set_major_locator(MaxNLocator(5))

    figure = facets(means, shape, draw, rate.heading, error.heading)
    caption = f"Means over seeds ({seed_count(frame, study.cell)}), test set. "
    for factor in path:
        caption += f"Lines join, and small numbers give, the {factor.label}. "
    caption += "Lower left is better. Compare within a panel only."
    return Drawing("rate-distortion", "Rate and distortion", caption, figure)


def bound_curve(study: Study) -> Drawing | None:
    """The NLL bound by draws from the encoders against their number S."""
    table = summary(study.curve, [*study.cell, "samples"], ["nll_encoder_nats"])
    if table["samples"].nunique() < 2:
        return None
    shape, known = (
        layout(study, METRICS["nll_encoder_nats"]),
        tuple(sorted(table["samples"].unique())),
    )
    x = Factor("samples", "S", "importance samples S", known, is_ordered=True, is_log=True)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        error_lines(axes, shape, part, x)

    figure = facets(table, shape, draw, x_label(x), "NLL bound (nats)")
    caption = (
        f"{interval_note(table)} Draws from the encoders alone, as papers take them: a curve still "
        "falling at its right end lies above the NLL."
    )
    return Drawing("bound-curve", "How tight the encoders' bound is", caption, figure)


def level_map(study: Study, metric: str, title: str, unit: str) -> Drawing | None:
    """Heat map of a per-level metric, mean over seeds: a row per depth, or, where that does not
    vary, per cell."""
    if metric not in study.levels or study.levels[metric].isna().all():
        return None
    depth = [factor for factor in study.varying if factor.name == LEVELS]
    rows = depth or study.factors
    columns = [factor.name for factor in rows]
    frame = study.levels.astype({metric: float, "level": int}).sort_values(columns)
    named = [
        plain(", ".join(factor.text(value) for factor, value in zip(rows, values, strict=True)))
        for values in frame[columns].itertuples(index=False)
    ]
    names = list(dict.fromkeys(named))
    frame["row"] = pd.Categorical(named, names)
    ends = {"vmin": 0.0, "vmax": max(frame[metric].max(), LEAST_DARK)}
    shape = layout(study, None, *(depth or study.varying), is_split=True)
    as_text = count_text if unit == "units" else cell_text

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        means = part.pivot_table(metric, "row", "level", observed=True)
        texts = means.map(as_text, na_action="ignore")
        shades, ink = sns.color_palette(SHADES, as_cmap=True), {"color": "black"}
        look = {"annot_kws": ink, "cmap": shades, "cbar": False, **ends}
        # Labels of our own: seaborn's are measured, each panel by a renderer of the figure's size.
        sns.heatmap(
            means, annot=texts, fmt="", xticklabels=False, yticklabels=False, ax=axes, **look
        )
        axes.set_xticks(np.arange(means.shape[1]) + 0.5, means.columns.astype(str))
        axes.set_yticks(np.arange(len(means)) + 0.5, means.index.astype(str))
        axes.grid(visible=False)
        axes.tick_params(length=0, rotation=0)

    label = depth[0].heading if depth else ", ".join(factor.label for factor in rows)
    height = 0.9 + ROW_INCHES * len(names)
    figure = facets(frame, shape, draw, "level t", label, height=height)
    caption = (
        f"Mean over seeds ({seed_count(frame, study.cell)}), test set, {unit}. "
        "Level 1 is next to the pixels."
    )
    return Drawing(metric.replace("_", "-") + "-per-level", title, caption, figure)
