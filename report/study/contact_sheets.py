"""The pictures of a study as figures for PNG and PDF: a row per cell."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from hvae.records.files import slug
from hvae.tiles import Pixels
from report.data.factors import VARIANT
from report.data.frames import Study
from report.render.drawing import LETTER, STYLE, Drawing
from report.study.gallery import LEAST_SIDE, CellPictures, Gallery

TITLES = ("samples", "test images, reconstructions below", "traversals, −3 … 3")
GAP = 0.3  # of an image, between sheets and between cells
IMAGE_INCHES = 0.26
TITLE_INCHES = 0.3  # room for the words on top
WHITE = 255


def caption(gallery: Gallery) -> str:
    """What is to be seen, of which seed, and how many runs a picture stands for."""
    return (
        f"Seed {gallery.seed} of every cell (n = 1 run each, chosen by its number, not its looks). "
        "Samples: from the prior, the same noise for all cells of equal depth and latent size. "
        "Reconstructions: decoded from the posterior mean of one test image of each digit, which "
        "stands above. Traversals: the units of level 1 with the largest KL, one a row, each "
        "moved from −3 to 3 around the posterior mean of a test image of the digit 7."
    )


def contact_sheets(study: Study, gallery: Gallery) -> list[Drawing]:
    """A figure per value of the categorical axes, where others vary too; none without pictures."""
    ordered = [factor for factor in study.factors if factor.is_ordered or factor.name == VARIANT]
    apart = [factor for factor in study.varying if ordered and factor not in ordered]
    rows = [factor for factor in study.factors if factor not in apart]

    def figure_of(cell: CellPictures) -> tuple[Any, ...]:
        return tuple(factor.values.index(cell.settings[factor.name]) for factor in apart)

    drawings = []
    for _, group in groupby(sorted(gallery.cells, key=figure_of), key=figure_of):
        cells = [*group]
        values = [cells[0].settings[factor.name] for factor in apart]
        named = ", ".join(f.describe(v) for f, v in zip(apart, values, strict=True))
        labels = [", ".join(f.describe(c.settings[f.name]) for f in rows) for c in cells]
        name = "-".join(["pictures", *(slug(str(value)) for value in values)])
        title = f"Pictures, {named}" if named else "Pictures"
        drawings.append(Drawing(name, title, caption(gallery), _figure(cells, labels)))
    return drawings


def _figure(cells: Sequence[CellPictures], labels: Sequence[str]) -> Figure:
    gap = round(GAP * LEAST_SIDE)
    drawn = [
        [sheet.pixels.repeat(c.zoom, 0).repeat(c.zoom, 1) for sheet in c.sheets] for c in cells
    ]
    rows = [_side_by_side(sheets, gap) for sheets in drawn]
    step = max(row.shape[0] for row in rows) + gap
    page = np.vstack([_grown(row, step, max(row.shape[1] for row in rows)) for row in rows])
    wide, high = (IMAGE_INCHES / LEAST_SIDE * pixels for pixels in page.shape[::-1])
    margin = LETTER * max(map(len, labels)) + GAP
    width, height_inches = wide + margin, high + TITLE_INCHES
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height_inches))
        axes = figure.add_axes((margin / width, 0, wide / width, high / height_inches))
        axes.imshow(page, cmap="gray", vmin=0, vmax=WHITE, interpolation="none")
        axes.set_yticks([i * step + (step - gap) / 2 for i in range(len(cells))], labels)
        widths = [sheet.shape[1] for sheet in drawn[0]]
        starts = np.cumsum([0, *(width + gap for width in widths)])
        middles = [start + width / 2 for start, width in zip(starts, widths, strict=False)]
        axes.set_xticks(middles, TITLES)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    return figure


def _side_by_side(sheets: Sequence[Pixels], gap: int) -> Pixels:
    """Sheets in a row, white between them: [H, W]."""
    height = max(sheet.shape[0] for sheet in sheets)
    return np.hstack([_grown(sheet, height, sheet.shape[1] + gap) for sheet in sheets])


def _grown(sheet: Pixels, height: int, width: int) -> Pixels:
    """A sheet made `height` by `width` by white below and at its right."""
    more = ((0, height - sheet.shape[0]), (0, width - sheet.shape[1]))
    return np.pad(sheet, more, constant_values=WHITE)
