"""The pictures of a study as figures for PNG and PDF: a row per cell, a figure per loss."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from hvae.records.files import slug
from report.data.frames import Study
from report.data.metrics import axis_label
from report.render.drawing import STYLE, Drawing
from report.render.panels import ORDINARY, panel_axes, panel_title
from report.study.gallery import CellPictures, Gallery, Pixels

TITLES = ("samples", "test images, reconstructions below", "traversals, −3 … 3")
GAP = 0.3  # of an image, between sheets and between cells
IMAGE_INCHES = 0.26
LABEL_INCHES, TITLE_INCHES = 1.4, 0.3  # room for the words at the left and on top
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
    """A figure per loss and other panel axis; none where there are no pictures."""
    panels = panel_axes(study)

    def panel(cell: CellPictures) -> tuple[Any, ...]:
        return tuple(cell.settings[name] for name in panels)

    drawings = []
    for values, cells in groupby(sorted(gallery.cells, key=panel), key=panel):
        title = f"Pictures, {panel_title(panels, values)}"
        name = "pictures-" + slug(" ".join(map(str, values)))
        drawings.append(Drawing(name, title, caption(gallery), _figure([*cells])))
    return drawings


def _figure(cells: Sequence[CellPictures]) -> Figure:
    side = cells[0].side
    gap = round(GAP * side)
    rows = [_side_by_side([sheet.pixels for sheet in cell.sheets], gap) for cell in cells]
    step = max(row.shape[0] for row in rows) + gap
    page = np.vstack([_grown(row, step) for row in rows])
    wide, high = (IMAGE_INCHES / side * pixels for pixels in page.shape[::-1])
    width, height_inches = wide + LABEL_INCHES, high + TITLE_INCHES
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height_inches))
        axes = figure.add_axes((LABEL_INCHES / width, 0, wide / width, high / height_inches))
        axes.imshow(page, cmap="gray", vmin=0, vmax=WHITE, interpolation="none")
        labels = [", ".join(axis_label(n, cell.settings[n]) for n in ORDINARY) for cell in cells]
        axes.set_yticks([i * step + (step - gap) / 2 for i in range(len(cells))], labels)
        widths = [sheet.pixels.shape[1] for sheet in cells[0].sheets]
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
    white = np.full((height, gap), WHITE, dtype=np.uint8)
    parts = [part for sheet in sheets for part in (_grown(sheet, height), white)]
    return np.hstack(parts[:-1])


def _grown(sheet: Pixels, height: int) -> Pixels:
    """A sheet made `height` high by white below."""
    return np.pad(sheet, ((0, height - sheet.shape[0]), (0, 0)), constant_values=WHITE)
