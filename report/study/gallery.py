"""What the models of one seed draw: samples, reconstructions, traversals, side by side per cell.

Shapes: D pixels of an image, U traversed units, H × W pixels of a sheet of images. Pixels 0–255.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from hvae.records.attachments import AttachmentError, read_arrays
from hvae.records.store import Store
from report.data.frames import Study

Pixels = npt.NDArray[np.uint8]
GREYS = 16  # in the page: half the bytes of 256, and nobody sees a difference in digits this size
COLUMNS = {"samples": 8, "reconstructions": 10, "traversals": 7}  # images in a row of a sheet
LEAST_SIDE = 28  # CSS pixels: smaller images are shown at the next whole multiple above


@dataclass(frozen=True)
class Sheet:
    """Images of one kind in rows: [H, W]; `text` says in words what is to be seen."""

    pixels: Pixels
    text: str


@dataclass(frozen=True)
class CellPictures:
    """The three sheets of one run, in the order of `COLUMNS`, and the settings of its cell."""

    settings: Mapping[str, Any]
    sheets: tuple[Sheet, ...]

    @property
    def side(self) -> int:
        """Pixels along an image and the black one after it."""
        return len(self.sheets[0].pixels[0]) // COLUMNS["samples"]

    @property
    def zoom(self) -> int:
        """Screen pixels per pixel: whole, so that all pixels are of one size."""
        return max(1, -(-LEAST_SIDE // self.side))


@dataclass(frozen=True)
class Gallery:
    """The pictures of one seed, cells in the order of the tables; `absent` cells have none."""

    seed: int = 0
    cells: tuple[CellPictures, ...] = ()
    absent: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()


def read_gallery(store: Store, study: Study) -> Gallery:
    """The pictures of the seed that has most of them; of the lowest where several have."""
    runs = study.runs[[*study.cell, "seed", "key"]]
    runs = runs[[store.pictures_path(key).exists() for key in runs["key"]]]
    if runs.empty:
        return Gallery()
    seed = min(runs["seed"], key=lambda seed: (-(runs["seed"] == seed).sum(), seed))
    keys = runs[runs["seed"] == seed].set_index([*study.cell])["key"]
    cells, absent, notices = [], [], []
    grid = study.status[[*study.cell]].drop_duplicates().sort_values([*study.cell])
    for settings in grid.to_dict("records"):
        named = {str(name): value for name, value in settings.items()}
        try:
            cells.append(CellPictures(named, _sheets(store, keys, tuple(named.values()))))
        except AttachmentError as error:
            notices.append(str(error).replace(f"{store.folder}/", ""))
            absent.append(named)
        except KeyError:
            absent.append(named)
    return Gallery(int(seed), tuple(cells), tuple(absent), tuple(notices))


def _sheets(store: Store, keys: "pd.Series[str]", values: Any) -> tuple[Sheet, ...]:
    """The sheets of a cell. Raises `KeyError` where it has no pictures of this seed."""
    path = store.pictures_path(keys[values])
    found = read_arrays(path)
    try:
        return sheets(found)
    except (KeyError, ValueError, IndexError) as error:
        raise AttachmentError(f"{path}: not the pictures of a run ({error})") from error


def sheets(found: Mapping[str, npt.NDArray[Any]]) -> tuple[Sheet, ...]:
    """Samples [16, D] in two rows; originals over reconstructions [10, D]; traversals [U, 7, D].

    Units are named from 1 on. Raises `KeyError` or `ValueError` where an array is missing or of
    another shape.
    """
    units = " and ".join(str(int(unit) + 1) for unit in found["traversal_units"])
    both = np.stack([found["originals"], found["reconstructions"]])
    plural = "s" if " and " in units else ""
    return (
        Sheet(_tiled(found["samples"], COLUMNS["samples"]), "16 samples"),
        Sheet(
            _tiled(both, COLUMNS["reconstructions"]),
            "a test image of each digit, its reconstruction below",
        ),
        Sheet(
            _tiled(found["traversals"], COLUMNS["traversals"]), f"traversal of unit{plural} {units}"
        ),
    )


def _tiled(images: npt.NDArray[Any], columns: int) -> Pixels:
    """Images [..., D] in rows of `columns`, a black pixel after each: [H, W]."""
    if images.dtype != np.uint8:
        raise ValueError(f"pixels are {images.dtype}, not uint8")
    side = round(images.shape[-1] ** 0.5)
    grid = np.pad(images.reshape(-1, columns, side, side), ((0, 0), (0, 0), (0, 1), (0, 1)))
    return grid.transpose(0, 2, 1, 3).reshape(-1, columns * (side + 1))


def data_uri(pixels: Pixels) -> str:
    """A sheet as an inline PNG of `GREYS` grey levels; the same pixels give the same text."""
    levels = np.round(pixels / (255 / (GREYS - 1))).astype(np.uint8)
    height, width = levels.shape
    image = Image.frombytes("P", (width, height), levels.tobytes())
    image.putpalette([255 * level // (GREYS - 1) for level in range(GREYS) for _ in "rgb"])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=4, optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
