"""Images side by side as one sheet. Shapes: D pixels of a square image, H × W of the sheet."""

import math

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def tile(images: Pixels, columns: int, gap: int, fill: int) -> Pixels:
    """Images [..., D] in rows of `columns`, `gap` pixels of grey `fill` between them and where the
    last row lacks some: [H, W]. No edge around the sheet.

    Raises `ValueError` where an image is not square or its pixels are no bytes.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"pixels are {images.dtype}, not uint8")
    side = math.isqrt(images.shape[-1])
    squares = images.reshape(-1, side, side)
    rows = -(-len(squares) // columns)
    pitch = side + gap
    cells = np.full((rows * columns, pitch, pitch), fill, np.uint8)
    cells[: len(squares), :side, :side] = squares
    sheet = cells.reshape(rows, columns, pitch, pitch).swapaxes(1, 2)
    return sheet.reshape(rows * pitch, columns * pitch)[
        : rows * pitch - gap, : columns * pitch - gap
    ]
