"""Samples laid out by two factors, the likelihood beside each: what the numbers look like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from report.data.factors import Factor, words
from report.data.frames import Study
from report.data.metrics import OWN, Metric
from report.data.statistics import summary
from report.render.drawing import PIXELS, Drawing, lay_out, styled
from report.render.numbers import rounded
from report.render.panels import plain
from report.study.pictures.gallery import CellPictures, Gallery, coarse, figure_names

PANEL_INCHES, TEXT_INCHES, LABEL_INCHES = 2.0, 0.3, 0.8
MOST_PANELS = 40  # of one figure


def sample_grids(study: Study, gallery: Gallery) -> list[Drawing]:
    """Rows and columns by two factors, a figure for each combination of the others; none where
    fewer than two factors of a study vary."""
    two = _two(study)
    if len(two) < 2 or not gallery.cells:
        return []
    down, across = two
    apart = [factor for factor in study.varying if factor not in two]
    nats = _nats(study)
    figures: dict[tuple[Any, ...], list[CellPictures]] = {}
    for cell in gallery.cells:
        key = tuple(cell.settings[factor.name] for factor in apart)
        figures.setdefault(key, []).append(cell)
    if len(down.values) * len(across.values) > MOST_PANELS:
        return []
    places = [words(apart, values) for values in figures]
    return [
        _drawing(study, name, (down, across), place, cells, nats)
        for name, place, cells in zip(
            figure_names("samples", places), places, figures.values(), strict=True
        )
    ]


def _two(study: Study) -> list[Factor]:
    """The first and the last ordered factor; with one of them or none, what else varies."""
    ordered = [factor for factor in study.varying if factor.is_ordered]
    others = [factor for factor in study.varying if not factor.is_ordered]
    return [*ordered[:1], *ordered[1:][-1:], *others][:2]


def _nats(study: Study) -> tuple[Metric | None, dict[tuple[Any, ...], float]]:
    """The likelihood that was measured, and its mean by cell."""
    metric = next((m for m in OWN if study.shows(m)), None)
    if metric is None:
        return None, {}
    table = summary(study.runs, study.cell, [metric.name])
    places = table[study.cell].itertuples(index=False, name=None)
    return metric, dict(zip(places, table["mean"], strict=True))


def _drawing(
    study: Study,
    name: str,
    axes: tuple[Factor, Factor],
    place: str,
    cells: Sequence[CellPictures],
    nats: tuple[Metric | None, dict[tuple[Any, ...], float]],
) -> Drawing:
    metric, means = nats
    figure = _figure(study, axes, cells, means)
    title = ", ".join(filter(None, ["Samples", place]))
    caption = "16 samples of each cell, from the prior, the same noise where sizes are equal."
    if metric is not None:
        caption += f" Above each: the {metric.label}, mean over seeds ({metric.unit})."
    return Drawing(name, title, caption, figure)


def _figure(
    study: Study,
    axes: tuple[Factor, Factor],
    cells: Sequence[CellPictures],
    means: dict[tuple[Any, ...], float],
) -> Figure:
    """One image of all sheets, each in the middle of its place: axes for each take ten times as
    long to draw."""
    down, across = axes
    height, width = np.max([cell.sheets[0].pixels.shape for cell in cells], 0)
    gap = round(width * TEXT_INCHES / PANEL_INCHES)  # above each sheet, and beside it
    shape = (len(down.values) * (height + gap), len(across.values) * (width + gap))
    canvas = np.full(shape, np.nan)  # where nothing is drawn
    inches = [size * PANEL_INCHES / width for size in shape]
    with styled():
        figure = Figure(figsize=(inches[1] + LABEL_INCHES, inches[0] + TEXT_INCHES))
        panel = figure.subplots()
        for cell in cells:
            row, column = (f.values.index(cell.settings[f.name]) for f in axes)
            top, left = row * (height + gap) + gap, column * (width + gap)
            pixels = coarse(cell.sheets[0].pixels)
            y, x = top + (height - pixels.shape[0]) // 2, left + (width - pixels.shape[1]) // 2
            canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
            mean = means.get(tuple(cell.settings[name] for name in study.cell))
            text = "" if mean is None else rounded(mean, 2)
            panel.text(left + width / 2, top - gap / 6, text, ha="center", va="bottom")
        panel.imshow(canvas, **PIXELS)
        rows = [(row + 0.5) * height + (row + 1) * gap for row in range(len(down.values))]
        columns = [column * (width + gap) + width / 2 for column in range(len(across.values))]
        panel.set_yticks(rows, [plain(down.describe(value)) for value in down.values])
        panel.set_xticks(columns, [plain(across.describe(value)) for value in across.values])
        panel.tick_params(length=0)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        lay_out(figure, np.array([[panel]]), None)
    return figure
