"""Images become one sheet: each where its number says, gaps between them only."""

import numpy as np
import pytest

from hvae.tiles import tile


@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 6])
def test_image_n_lies_in_row_n_over_columns_and_all_else_is_fill(count: int, gap: int) -> None:
    columns = 3
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2)
    rows = -(-count // columns)
    expected = np.full((rows * 2 + (rows - 1) * gap, columns * 2 + (columns - 1) * gap), 99)
    for number in range(count):
        top, left = ((2 + gap) * place for place in divmod(number, columns))
        expected[top : top + 2, left : left + 2] = images[number]
    np.testing.assert_array_equal(tile(images, columns, gap, 99), expected)


def test_leading_dimensions_are_one_sequence_of_images() -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(tile(images, 3, 1, 0), tile(images.reshape(6, 2, 2), 3, 1, 0))


def test_images_may_be_oblong() -> None:
    images = np.arange(2 * 6, dtype=np.uint8).reshape(2, 2, 3)
    assert tile(images, 2, 1, 9).tolist() == [[0, 1, 2, 9, 6, 7, 8], [3, 4, 5, 9, 9, 10, 11]]


def test_pixels_are_bytes() -> None:
    with pytest.raises(ValueError, match="pixels are float64, not uint8"):
        tile(np.zeros((1, 2, 2)), 1, 0, 0)  # type: ignore[arg-type]
