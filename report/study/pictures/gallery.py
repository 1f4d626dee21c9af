"""What the models of one seed draw: samples, reconstructions, traversals, side by side per cell.

Shapes: D = h × w pixels of an image, U traversed units of level 1, T levels, H × W pixels of a
sheet of images. Pixels 0–255.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hvae.records.attachments import AttachmentError, read_arrays
from hvae.records.files import slug
from hvae.records.store import Store
from hvae.tiles import Pixels, tile
from report.data.factors import words
from report.data.frames import Study

GREYS = 16  # half the bytes of 256, and nobody sees a difference in digits this size
STEP = 255 // (GREYS - 1)
GAP, BLACK = 1, 0  # pixels between images
COLUMNS = {  # images in a row of a sheet
    "samples": 8,
    "reconstructions": 10,
    "traversals": 7,
    "interpolation": 10,
}
LEAST_SIDE = 28  # CSS pixels: smaller images are shown at the next whole multiple above


@dataclass(frozen=True)
class Sheet:
    """Images of one kind in rows: [H, W]; `text` says in words what is to be seen."""

    pixels: Pixels
    text: str


@dataclass(frozen=True)
class CellPictures:
    """The sheets of one run, in the order of `COLUMNS`, and the settings of its cell."""

    settings: Mapping[Any, Any]
    sheets: tuple[Sheet, ...]

    @property
    def side(self) -> int:
        """Pixels of an image's width, with the gap beside it."""
        return int(self.sheets[0].pixels.shape[1] + GAP) // COLUMNS["samples"]

    @property
    def zoom(self) -> int:
        """Screen pixels per pixel: whole, so that all pixels are of one size."""
        return -(-LEAST_SIDE // self.side)


@dataclass(frozen=True)
class Gallery:
    """The pictures of one seed, cells in the order of the tables; `absent` cells have none."""

    seed: int = 0
    cells: tuple[CellPictures, ...] = ()
    absent: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def read_gallery(store: Store, study: Study) -> Gallery:
    """The pictures of the seed that has most of them; of the lowest where several have."""
    runs = study.runs[[*study.cell, "seed", "key"]]
    runs = runs[[store.arrays_path(key).exists() for key in runs["key"]]]
    if runs.empty:
        return Gallery()
    seed = int(runs["seed"].mode().min())
    shown = study.grid[study.cell].merge(runs[runs["seed"] == seed], how="left", on=study.cell)
    cells, absent, notices = [], [], []
    for settings in shown.to_dict("records"):
        try:
            key = settings["key"]
            pictures = read_sheets(store.arrays_path(key)) if isinstance(key, str) else None
        except AttachmentError as error:
            notices.append(str(error).replace(f"{store.folder}/", ""))
            pictures = None
        if pictures:
            cells.append(CellPictures(settings, pictures))
        else:
            absent.append(words(study.factors, (settings[name] for name in study.cell)))
    return Gallery(seed, tuple(cells), tuple(absent), tuple(notices))


def read_sheets(path: Path) -> tuple[Sheet, ...]:
    """The sheets of a run's file of arrays. Raises `AttachmentError` where it cannot be read or
    holds others."""
    found = read_arrays(path)
    try:
        return sheets(found)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise AttachmentError(f"{path}: not the pictures of a run ({error})") from error


def sheets(found: Mapping[str, npt.NDArray[Any]]) -> tuple[Sheet, ...]:
    """Samples [16, D] in two rows; originals over reconstructions [n ≤ 10, D]; traversals [U, 7, D]
    of level 1 and [T - 1, 7, D] of those above; an interpolation [10, D].

    Units are named from 1 on; of earlier releases the last two are missing. Raises `KeyError` or
    `ValueError` where another array is missing or one is of another shape.
    """
    both = np.stack([found["originals"], found["reconstructions"]])
    lacking = COLUMNS["reconstructions"] - both.shape[1]  # digits that no test image shows: black
    both = np.pad(both, ((0, 0), (0, lacking), (0, 0)))
    upper = found.get("upper_traversals", ())
    moved = [*found["traversals"], *upper]
    units = [(1, unit) for unit in found["traversal_units"]]
    units += enumerate(found.get("upper_units", ()), start=2)
    rows = (f"unit {int(unit) + 1} of level {level}" for level, unit in units)
    kinds = {
        "16 samples": found["samples"],
        "test images, their reconstructions below": both,
        f"traversals, a row each: {', '.join(rows)}": np.stack(moved),
        "from one test image to another": found.get("interpolation"),
    }
    height, width = found.get("image_shape", 2 * [math.isqrt(both.shape[-1])])
    return tuple(
        Sheet(_tiled(images, columns, (int(height), int(width))), text)
        for (text, images), columns in zip(kinds.items(), COLUMNS.values(), strict=True)
        if images is not None
    )


def _tiled(images: npt.NDArray[Any], columns: int, shape: tuple[int, int]) -> Pixels:
    """Images [..., D] in whole rows of `columns`, a black pixel between them: [H, W]."""
    return tile(images.reshape(-1, columns, *shape), columns, GAP, BLACK)


def coarse(pixels: Pixels) -> Pixels:
    """Each pixel as the nearest of `GREYS` grey levels."""
    return (np.round(pixels / STEP) * STEP).astype(np.uint8)


def data_uri(pixels: Pixels) -> str:
    """A sheet as an inline PNG of `GREYS` grey levels; the same pixels give the same text."""
    levels = coarse(pixels) // STEP
    height, width = levels.shape
    image = Image.frombytes("P", (width, height), levels.tobytes())
    image.putpalette([STEP * level for level in range(GREYS) for _ in "rgb"])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=4, optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def figure_names(kind: str, places: Sequence[str]) -> list[str]:
    """Of figures, by their places: numbered where these are the same in the letters of a file's
    name."""
    slugs = [slug(place) for place in places]
    return [
        "-".join(filter(None, [kind, name, str(number) * (slugs.count(name) > 1)]))
        for number, name in enumerate(slugs, start=1)
    ]
