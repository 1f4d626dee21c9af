"""What a categorical factor or the variants change: a forest of contrasts with the first value."""

from report.data.contrasts import Contrast
from report.data.factors import Factor
from report.data.frames import Study
from report.render.drawing import Drawing
from report.render.forest import forest_of
from report.render.panels import span
from report.study.text.findings import where

MOST_ROWS = 30  # beyond, the main effects stand for the contrasts cell by cell


def effects(study: Study, factor: Factor) -> Drawing | None:
    """The differences in each metric that speaks for them, a row per step and cell; none where the
    figure of all main effects shows just these."""
    known = study.contrasts
    rows = [contrast for contrast in known.by_cell[factor.name] if contrast.estimate.n]
    if len({_name(contrast, factor) for contrast in rows}) > MOST_ROWS:
        rows = [contrast for contrast in known.effects[factor.name] if contrast.estimate.n]
    if not rows or (study.varying == [factor] and all(c.estimate.n > 1 for c in rows)):
        return None
    figure = forest_of(
        rows,
        [_name(contrast, factor) for contrast in rows],
        [contrast.metric.heading for contrast in rows],
        lambda contrast: factor.values.index(contrast.steps[0].end),
    )
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
