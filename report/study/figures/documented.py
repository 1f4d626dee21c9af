"""Figures of what the documented loss charges, and of what training with it costs."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from report.data.frames import Study
from report.data.metrics import METRICS
from report.data.statistics import summary
from report.render.drawing import FAINT, INK, Drawing, error_lines, facets
from report.render.panels import MARKERS, PALETTE, interval_note, panel_axes
from report.study.documented import NOISE_FACTOR, charged, objective_cost

COSTS = ("nll_nats", "elbo_nats", "rate_nats")
LINES = (("closed_form_nats", "closed form, as charged", "-"), ("rate_nats", "joint KL", "--"))
WEIGHTS = {
    "bce": "With BCE the documented loss counts the KL twice (β = 2), so it buys fewer nats of it.",
    "mse": "With MSE it doubles the likelihood too: only the form of the KL differs.",
}


def draw_documented(study: Study) -> list[Drawing]:
    """The figures of the documented loss that the records have data for."""
    made = [joint_kl(study), kl_excess(study), objective_costs(study)]
    return [drawing for drawing in made if drawing is not None]


def joint_kl(study: Study) -> Drawing | None:
    """Σ K_t, which the documented loss charges, and the KL of the joint posterior, per depth."""
    runs, cell = charged(study), [*study.cell]
    if runs.empty or runs["depth"].max() < 2:
        return None
    means = runs.groupby(cell, as_index=False)[[name for name, *_ in LINES]].mean()
    table = means.merge(summary(runs, cell, ["excess_nats"]), on=cell)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        places = np.arange(len(part))
        half_widths = (np.nan_to_num(part["half_width"].to_numpy(float)), None)
        for i, (name, label, line) in enumerate(LINES):
            style: dict[str, Any] = {"color": PALETTE[i], "marker": MARKERS[i], "linestyle": line}
            axes.errorbar(
                places,
                part[name],
                half_widths[i],
                label=label,
                capsize=2.5,
                markersize=4.5,
                **style,
            )
        axes.set_xticks(places, [str(depth) for depth in part["depth"]])

    figure = facets(table, panel_axes(study, "latent"), draw, "depth", "KL (nats)")
    caption = (
        f"{interval_note(table)} The bars stand on the closed form and are those of its paired "
        "difference to the joint KL. The two agree at depth 1; beyond it the closed form drops the "
        "covariance of z_t with the prior mean that was made from it, and charges too much where "
        "an upper level is informative. The next figure says which gaps noise can fake."
    )
    return Drawing("joint-kl", "KL charged and KL of the joint posterior", caption, figure)


def kl_excess(study: Study) -> Drawing | None:
    """What Σ K_t has over the KL of the joint posterior, per depth, paired by run."""
    runs = charged(study)
    if runs.empty or runs["depth"].max() < 2:
        return None
    table = summary(runs, study.cell, ["excess_nats"])
    noise = runs.groupby([*study.cell], as_index=False)["noise_nats"].mean()
    table = table.merge(noise, on=[*study.cell])

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        reach = NOISE_FACTOR * part.groupby("depth")["noise_nats"].mean()
        axes.fill_between(range(len(reach)), -reach, reach, color=FAINT, alpha=0.6, lw=0)
        _against_zero(axes, study, part)

    figure = facets(table, panel_axes(study), draw, "depth", "closed form − joint KL (nats)")
    caption = (
        f"{interval_note(table)} Above 0 the documented loss charges more KL than the joint "
        "posterior has: the covariance that its closed form drops. Grey: gaps that Monte-Carlo "
        "noise can fake. All seeds share its draws, so no bar shows it; it is taken as twice the "
        "distance of two estimates of the joint KL, the rate and −ELBO − reconstruction."
    )
    return Drawing("kl-excess", "What the closed-form KL charges too much", caption, figure)


def objective_costs(study: Study) -> Drawing | None:
    """Documented − ELBO objective in NLL, ELBO and rate, per depth, paired by seed."""
    tables = [objective_cost(study, name).assign(metric=METRICS[name].label) for name in COSTS]
    found = [table for table in tables if len(table)]
    if not found:
        return None
    table = pd.concat(found).rename(columns={"difference": "mean"})

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        _against_zero(axes, study, part)

    panels = [name for name in panel_axes(study) if name != "objective"]
    figure = facets(table, [*panels, "metric"], draw, "depth", "documented − elbo (nats)")
    weights = " ".join(WEIGHTS[loss] for loss in sorted(table["loss"].unique()))
    caption = (
        f"{interval_note(table)} Difference between runs trained with the documented and with the "
        f"ELBO objective, paired by seed, test set. NLL above 0: the documented objective costs "
        f"likelihood. {weights}"
    )
    return Drawing("objective-cost", "What the documented objective costs", caption, figure)


def _against_zero(axes: Axes, study: Study, part: pd.DataFrame) -> None:
    axes.axhline(0.0, color=INK, lw=0.8, zorder=1)
    error_lines(axes, study, part, "depth", "latent")
