"""What a categorical factor or the variants change: a forest of contrasts with the first value."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from report.data.contrasts import Contrast
from report.data.factors import Factor
from report.data.frames import Study
from report.render.drawing import INK, Drawing, facets, row_names
from report.render.panels import Layout, span, style
from report.study.text.findings import where

MOST_ROWS = 30  # beyond, the main effects stand for the contrasts cell by cell
LEAST_INCHES = 1.1


def effects(study: Study, factor: Factor) -> Drawing | None:
    """The differences in each metric that speaks for them, a row per step and cell; none where the
    figure of all main effects shows just these."""
    known = study.contrasts
    rows = [contrast for contrast in known.by_cell[factor.name] if contrast.estimate.n]
    if len({_name(contrast, factor) for contrast in rows}) > MOST_ROWS:
        rows = [contrast for contrast in known.effects[factor.name] if contrast.estimate.n]
    if not rows or (study.varying == [factor] and all(c.estimate.n > 1 for c in rows)):
        return None
    named = [_name(contrast, factor) for contrast in rows]
    metrics = [contrast.metric.heading for contrast in rows]
    names, headings = (list(dict.fromkeys(texts)) for texts in (named, metrics))
    texts, row_inches = row_names(names, len(headings))
    frame = pd.DataFrame({"contrast": rows, "row": named}, dtype=object)
    frame["panel"] = pd.Categorical(metrics, headings)
    shape = Layout((), (Factor("panel", "", "", tuple(headings)),), is_shared=True)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        axes.axvline(0.0, color=INK, lw=0.8, zorder=1)
        for contrast, row in zip(part["contrast"], part["row"], strict=True):
            (step,), known = contrast.steps, contrast.estimate
            look = style(factor.values.index(step.end), dash=int(not contrast.is_clear))
            place = (known.mean, names.index(row))
            axes.errorbar(*place, xerr=known.half_width, capsize=2.5, **look)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yticks(range(len(names)), texts)
        axes.set_ylim(len(names) - 0.5, -0.5)

    height = LEAST_INCHES + row_inches * len(names)
    figure = facets(frame, shape, draw, "difference", "", height)
    n = span([contrast.estimate.n for contrast in rows])
    what = ", ".join(map(str, dict.fromkeys(contrast.steps[0] for contrast in rows)))
    caption = (
        f"{what}: second minus first, paired by seed ({n}); bars: "
        "95 % t intervals. Filled: Holm p below 0.05 among these, n ≥ 3."
    )
    return Drawing(f"effects-{factor.name}", f"What the {factor.label} changes", caption, figure)


def _name(contrast: Contrast, factor: Factor) -> str:
    """The step and what it stands at; the step alone or the place alone where that is enough."""
    step, place = str(contrast.steps[0]), where(contrast)
    if len(factor.values) == 2 and place:
        return place
    return f"{step}, {place}" if place else step
