"""The pictures of one seed: which, of what size, and what is said where there are none."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from builders import write_pictures
from PIL import Image

from hvae.config import RunConfig, digest
from hvae.records.store import Record, Store
from report.data.frames import load
from report.render.drawing import image
from report.study.contact_sheets import caption, contact_sheets
from report.study.gallery import data_uri, read_gallery, sheets
from report.study.page import gallery_notes

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def write_all(store: Store, make_record: Make, configs: list[RunConfig]) -> None:
    for config in configs:
        store.write(make_record(config))


def arrays(units: int = 2, side: int = 8) -> dict[str, np.ndarray]:
    """Images that are their own number everywhere."""
    pixels = side * side

    def numbered(count: int, start: int) -> np.ndarray:
        return np.repeat(np.arange(start, start + count, dtype=np.uint8)[:, None], pixels, axis=1)

    return {
        "samples": numbered(16, 0),
        "originals": numbered(10, 20),
        "reconstructions": numbered(10, 30),
        "traversals": numbered(units * 7, 40).reshape(units, 7, pixels),
        "traversal_units": np.arange(units) + 3,
    }


def test_sheets_hold_every_image_in_reading_order() -> None:
    samples, pairs, traversals = (sheet.pixels[::9, ::9].tolist() for sheet in sheets(arrays()))
    assert samples == [[*range(8)], [*range(8, 16)]]
    assert pairs == [[*range(20, 30)], [*range(30, 40)]]  # originals above, reconstructions below
    assert traversals == [[*range(40, 47)], [*range(47, 54)]]


def test_an_image_keeps_its_own_pixels() -> None:
    found = arrays()
    found["samples"] = np.arange(16 * 64).astype(np.uint8).reshape(16, 64)
    second = sheets(found)[0].pixels[:8, 9:17]  # a black pixel keeps neighbours apart
    assert second.ravel().tolist() == found["samples"][1].tolist()


@pytest.mark.parametrize(("units", "text"), [(2, "of units 4 and 5"), (1, "of unit 4")])
def test_a_latent_of_one_dimension_has_one_traversal(units: int, text: str) -> None:
    sheet = sheets(arrays(units))[2]
    assert sheet.pixels.shape == (9 * units, 7 * 9)
    assert sheet.text.endswith(text)


def test_an_inline_picture_is_a_png_of_sixteen_greys() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    kind, encoded = data_uri(pixels).split(",")
    assert kind == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L"))
    assert np.abs(read.astype(int) - pixels).max() <= 8  # half a step of 17, rounded down
    assert len(np.unique(read)) == 16
    assert data_uri(pixels) == data_uri(pixels.copy())


def test_the_seed_with_most_pictures_is_shown_and_the_lowest_of_equals(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 3)
    write_all(store, make_record, configs)
    for config in configs:
        if config.train.seed == 2 or config.model.num_layers == 1:
            write_pictures(store, config)
    study = load(store, configs)
    assert read_gallery(store, study).seed == 2
    write_pictures(store, configs[4])
    assert read_gallery(store, study).seed == 1  # both cells, as seed 2, and lower


def test_a_cell_without_pictures_is_named_and_a_damaged_file_is_a_line(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2, 3), ("bce",), (20,), 1)
    write_all(store, make_record, configs[:2])
    write_pictures(store, configs[0])
    store.pictures_path(digest(configs[1])).write_bytes(b"PK no archive")
    study = load(store, configs)
    gallery = read_gallery(store, study)
    assert [cell.settings["depth"] for cell in gallery.cells] == [1]
    (notice,) = gallery.notices
    assert notice.startswith(f"runs/{digest(configs[1])}.npz: ")
    said = gallery_notes(study, gallery)[-1]
    assert said.startswith("No pictures of seed 0 in 2: depth 2, BCE, latent 20; depth 3, BCE")


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": np.zeros((16, 64))},
        {"samples": np.zeros((15, 64), np.uint8)},
        {"traversals": np.zeros((2, 7, 63), np.uint8)},
        {"originals": np.zeros((9, 64), np.uint8)},
    ],
)
def test_arrays_of_another_form_are_refused(wrong: dict[str, np.ndarray]) -> None:
    with pytest.raises((ValueError, IndexError)):
        sheets(arrays() | wrong)


def test_a_file_that_lacks_an_array_is_a_line(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1,), ("bce",), (20,), 1)
    write_all(store, make_record, configs)
    np.savez(store.pictures_path(digest(configs[0])), samples=arrays()["samples"])
    gallery = read_gallery(store, load(store, configs))
    assert gallery.cells == ()
    assert "not the pictures of a run" in gallery.notices[0]


def test_a_study_without_pictures_says_so_and_draws_nothing(
    full_store: Store, make_grid: Grid
) -> None:
    study = load(full_store, make_grid())
    gallery = read_gallery(full_store, study)
    assert gallery_notes(study, gallery) == [
        "No run of this study has left pictures beside its record."
    ]
    assert contact_sheets(study, gallery) == []
    empty = load(full_store, [])
    assert gallery_notes(empty, read_gallery(full_store, empty)) == []


def test_contact_sheets_have_a_row_per_cell_and_a_figure_per_loss(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce", "mse"), (2, 20), 1)
    write_all(store, make_record, configs)
    for config in configs:
        write_pictures(store, config)
    study = load(store, configs)
    gallery = read_gallery(store, study)
    drawings = contact_sheets(study, gallery)
    assert [drawing.name for drawing in drawings] == ["pictures-bce", "pictures-mse"]
    (axes,) = drawings[0].figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"depth {depth}, latent {latent}" for depth in (1, 2) for latent in (2, 20)]
    page = np.asarray(axes.images[0].get_array())
    assert (
        page[:8, :8].ravel().tolist() == gallery.cells[0].sheets[0].pixels[:8, :8].ravel().tolist()
    )
    drawings[0].figure.draw_without_rendering()
    for label in (*axes.get_yticklabels(), *axes.get_xticklabels()):
        ends = label.get_window_extent()
        assert ends.x0 >= 0
        assert ends.y1 <= drawings[0].figure.bbox.height
    assert "n = 1" in caption(gallery)
    assert image(drawings[0], "pdf") == image(contact_sheets(study, gallery)[0], "pdf")
