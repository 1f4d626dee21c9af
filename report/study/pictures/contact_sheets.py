"""The pictures of a study as figures for PNG and PDF: a row per cell."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from report.data.factors import VARIANT, Factor, words
from report.data.frames import Study
from report.render.drawing import LETTER, PIXELS, Drawing, styled
from report.render.panels import plain
from report.study.pictures.gallery import COLUMNS, CellPictures, Gallery, figure_names

TITLES = ("samples", "test images, reconstructions below", "traversals, −3 … 3", "interpolation")
IMAGE_INCHES = 0.26


def contact_sheets(study: Study, gallery: Gallery) -> list[Drawing]:
    """A figure per value of the categorical axes, where others vary too; none without pictures."""
    inside = [factor for factor in study.factors if factor.is_ordered or factor.name == VARIANT]
    apart = [factor for factor in study.varying if inside and factor not in inside]
    rows = [factor for factor in study.factors if factor not in apart]
    figures: dict[tuple[Any, ...], list[CellPictures]] = {}
    for cell in gallery.cells:
        figures.setdefault(_values(cell, apart), []).append(cell)
    drawings = []
    places = ["-".join(map(str, values)) for values in figures]
    names = figure_names("pictures", places)
    for name, (values, cells) in zip(names, figures.items(), strict=True):
        title = ", ".join(["Pictures", *filter(None, [words(apart, values)])])
        labels = [words(rows, _values(cell, rows)) for cell in cells]
        drawings.append(Drawing(name, title, "", _figure(cells, labels)))
    return drawings


def _values(cell: CellPictures, factors: Sequence[Factor]) -> tuple[Any, ...]:
    return tuple(cell.settings[factor.name] for factor in factors)


def _figure(cells: Sequence[CellPictures], labels: Sequence[str]) -> Figure:
    columns = [*COLUMNS.values()][: max(len(cell.sheets) for cell in cells)]
    width = IMAGE_INCHES * (sum(columns) + 2) + LETTER * max(map(len, labels))
    high = [max(sheet.pixels.shape[0] / cell.side for sheet in cell.sheets) for cell in cells]
    height = IMAGE_INCHES * (sum(high) + 0.4 * len(cells) + 1)
    with styled():
        figure = Figure(figsize=(width, height), layout="compressed")
        grid = figure.subplots(
            *(len(cells), len(columns)), squeeze=False, width_ratios=columns, height_ratios=high
        )
        for row, cell, label in zip(grid, cells, labels, strict=True):
            row[0].set_ylabel(plain(label), rotation=0, ha="right", va="center")
            for axes, sheet in zip(row, cell.sheets, strict=False):
                axes.imshow(sheet.pixels, **PIXELS)
                axes.set(xticks=[], yticks=[], anchor="W")
                axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], TITLES, strict=False):
            axes.set_title(title)
    return figure
