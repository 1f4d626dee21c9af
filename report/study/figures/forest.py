"""All main effects of a study in one figure: a row for each step, a panel for each metric."""

import math
from collections.abc import Sequence
from statistics import median_high

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from report.data.contrasts import Contrast
from report.data.frames import Study
from report.data.metrics import Metric
from report.render.drawing import Drawing
from report.render.forest import forest_of, linear
from report.render.panels import span

MOST_ROWS = 45
LARGE = 60  # times the median interval: then the scale is logarithmic
AVERAGED = "averaged over the other factors where the metric means the same for all their values"
FILLED = "Filled: Holm p below 0.05 among these of the factor, n ≥ 3."
MARGIN = (
    "Grey, where no effect is established: the margin that two one-sided tests at 0.05 keep it "
    "within, beyond which an interval of 95 % may reach."
)


def forest(study: Study) -> Drawing | None:
    """Differences with their intervals, filled where Holm finds them, over the margin within which
    each is equivalent to none."""
    families = study.contrasts.effects
    contrasts = [c for family in families.values() for c in family if c.estimate.n > 1]
    names = list(dict.fromkeys(map(_name, contrasts)))[:MOST_ROWS]
    shown = [contrast for contrast in contrasts if _name(contrast) in names]
    if not shown:
        return None
    panels = [f"{contrast.metric.heading},\n{_better(contrast.metric)}" for contrast in shown]
    rows, factors = [*map(_name, shown)], [*families]
    figure = forest_of(
        shown,
        rows,
        panels,
        lambda contrast: factors.index(contrast.steps[0].factor.name),
        scale=_scale,
        has_margins=True,
    )
    return Drawing("forest", "Every main effect", _caption(shown, contrasts), figure)


def _caption(shown: Sequence[Contrast], contrasts: Sequence[Contrast]) -> str:
    n = span([contrast.estimate.n for contrast in shown])
    left = len(set(map(_name, contrasts))) - len(set(map(_name, shown)))
    mean = f", {AVERAGED}" if any(contrast.averaged for contrast in shown) else ""
    margins = [] if all(contrast.is_clear for contrast in shown) else [MARGIN]
    more = [f"{left} more rows are in the table of contrasts."] if left else []
    said = f"Second minus first, paired by seed ({n}){mean}; bars: 95 % t intervals. {FILLED}"
    return " ".join([said, *margins, *more])


def _better(metric: Metric) -> str:
    return "lower is better" if metric.direction < 0 else "higher is better"


def _name(contrast: Contrast) -> str:
    return ", ".join(filter(None, [str(contrast.steps[0]), contrast.place]))


def _scale(axes: Axes, contrasts: Sequence[Contrast]) -> None:
    """Logarithmic beyond the usual interval where the largest effect dwarfs it, else linear."""
    usual = median_high(c.estimate.half_width for c in contrasts)
    largest = max(abs(c.estimate.mean) for c in contrasts)
    if largest <= LARGE * usual or usual == 0:
        linear(axes, contrasts)
        return
    threshold = 10.0 ** math.ceil(math.log10(usual))
    decades = math.ceil(math.log10(largest / threshold)) + 1
    sizes = [threshold * 10**power for power in range(0, decades, 1 + decades // 4)]
    axes.set_xscale("symlog", linthresh=threshold)
    axes.set_xticks([*(-size for size in reversed(sizes)), 0, *sizes])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
