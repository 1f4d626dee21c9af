"""Images side by side as one sheet. Shapes: h × w pixels of an image, H × W of the sheet."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def tile(images: Pixels, columns: int, gap: int, fill: int) -> Pixels:
    """Images [..., h, w] in rows of `columns`, `gap` pixels of grey `fill` between them and where
    the last row lacks some: [H, W]. No edge around the sheet.

    Raises `ValueError` where the pixels are no bytes.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"pixels are {images.dtype}, not uint8")
    h, w = images.shape[-2:]
    row = images.reshape(-1, h, w)
    rows = -(-len(row) // columns)
    cells = np.full((rows * columns, h + gap, w + gap), fill, np.uint8)
    cells[: len(row), :h, :w] = row
    lines = cells.reshape(rows, columns, h + gap, w + gap).swapaxes(1, 2)
    sheet = lines.reshape(rows * (h + gap), columns * (w + gap))
    return sheet[: len(sheet) - gap, : sheet.shape[1] - gap]
