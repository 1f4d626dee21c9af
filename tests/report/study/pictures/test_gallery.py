"""The pictures of one seed: which, of what size, and what is said where there are none."""

import base64
import io

import numpy as np
import pytest
from builders import (
    design,
    filled,
    leave_fonts_uncut,
    pictured,
    record,
    study_of,
    write_pictures,
)
from PIL import Image

from hvae.records.store import Store
from hvae.settings import digest
from report.data.design import Design
from report.data.frames import Study
from report.machine.benches import Benches
from report.render.drawing import image
from report.study.page import contents, render
from report.study.pictures.contact_sheets import contact_sheets
from report.study.pictures.gallery import Gallery, data_uri, figure_names, read_gallery, sheets
from report.study.pictures.sample_grids import sample_grids


def page(study: Study, gallery: Gallery) -> str:
    """The text of the page, without line breaks."""
    return " ".join(
        render(contents(study, Benches(), gallery, sample_grids(study, gallery)), ()).split()
    )


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
        "upper_traversals": numbered(7, 60).reshape(1, 7, pixels),
        "upper_units": np.array([5]),
        "interpolation": numbered(10, 70),
        "image_shape": np.array([side, side]),
    }


def test_sheets_hold_every_image_in_reading_order() -> None:
    found = (sheet.pixels[::9, ::9].tolist() for sheet in sheets(arrays()))
    samples, pairs, traversals, interpolation = found
    assert samples == [[*range(8)], [*range(8, 16)]]
    assert pairs == [[*range(20, 30)], [*range(30, 40)]]  # originals above, reconstructions below
    assert traversals == [[*range(40, 47)], [*range(47, 54)], [*range(60, 67)]]
    assert interpolation == [[*range(70, 80)]]


def test_pictures_of_earlier_releases_have_three_sheets() -> None:
    late = ("upper_traversals", "upper_units", "interpolation", "image_shape")
    before = sheets({name: array for name, array in arrays().items() if name not in late})
    assert [sheet.pixels.shape for sheet in before] == [(17, 71), (17, 89), (17, 62)]


def test_oblong_images_keep_their_shape() -> None:
    found = sheets(arrays() | {"image_shape": np.array([4, 16])})
    assert found[0].pixels.shape == (2 * 5 - 1, 8 * 17 - 1)


def test_where_no_test_image_shows_a_digit_the_rest_of_its_row_is_black() -> None:
    found = arrays()
    found |= {name: found[name][:3] for name in ("originals", "reconstructions")}
    assert sheets(found)[1].pixels.shape == sheets(arrays())[1].pixels.shape
    pairs = sheets(found)[1].pixels[::9, ::9].tolist()
    assert pairs == [[20, 21, 22, *[0] * 7], [30, 31, 32, *[0] * 7]]


def test_an_image_keeps_its_own_pixels() -> None:
    found = arrays()
    found["samples"] = np.arange(16 * 64).astype(np.uint8).reshape(16, 64)
    second = sheets(found)[0].pixels[:8, 9:17]  # a black pixel keeps neighbours apart
    assert second.ravel().tolist() == found["samples"][1].tolist()


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (2, "a row each: unit 4 of level 1, unit 5 of level 1, unit 6 of level 2"),
        (1, "a row each: unit 4 of level 1, unit 6 of level 2"),
    ],
)
def test_a_latent_of_one_dimension_has_one_traversal(units: int, text: str) -> None:
    sheet = sheets(arrays(units))[2]
    assert sheet.pixels.shape == (9 * (units + 1) - 1, 7 * 9 - 1)
    assert sheet.text.endswith(text)


def test_an_inline_picture_is_a_png_of_sixteen_greys() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    kind, encoded = data_uri(pixels).split(",")
    assert kind == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L"))
    assert np.abs(read.astype(int) - pixels).max() <= 8  # half a step of 17, rounded down
    assert len(np.unique(read)) == 16
    assert data_uri(pixels) == data_uri(pixels.copy())


def test_the_seed_with_most_pictures_is_shown_and_the_lowest_of_equals(store: Store) -> None:
    study = filled(store, design({"depth": (1, 2)}))
    runs = study.design.runs
    for run in runs:
        if run.train.seed == 2 or run.model.num_layers == 1:
            write_pictures(store, run)
    assert read_gallery(store, study).seed == 2
    write_pictures(store, runs[4])
    assert read_gallery(store, study).seed == 1  # both cells, as seed 2, and lower


def test_a_cell_without_pictures_is_named_and_a_damaged_file_is_a_line(store: Store) -> None:
    asked = design({"depth": (1, 2, 3), "latent": (20,)}, seeds=1)
    for run in asked.runs[:2]:
        store.write(record(run))
    write_pictures(store, asked.runs[0])
    store.arrays_path(digest(asked.runs[1])).write_bytes(b"PK no archive")
    study = study_of(store, asked)
    gallery = read_gallery(store, study)
    assert [cell.settings["depth"] for cell in gallery.cells] == [1]
    (notice,) = gallery.notices
    assert notice.startswith(f"runs/{digest(asked.runs[1])}.npz: ")
    assert "No pictures of seed 0 in 2: depth 2; depth 3." in page(study, gallery)


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


def test_a_file_that_lacks_an_array_is_a_line(store: Store) -> None:
    study = filled(store, design({"depth": (1,)}, seeds=1))
    np.savez(store.arrays_path(digest(study.design.runs[0])), samples=arrays()["samples"])
    gallery = read_gallery(store, study)
    assert gallery.cells == ()
    assert "not the pictures of a run" in gallery.notices[0]
    units = {"traversal_units": np.zeros((2, 2))}
    np.savez(store.arrays_path(digest(study.design.runs[0])), **arrays() | units)
    assert "not the pictures of a run" in read_gallery(store, study).notices[0]


def test_a_study_without_pictures_says_so_and_draws_nothing(
    full_store: Store, full_study: Study
) -> None:
    gallery = read_gallery(full_store, full_study)
    assert "No run of this study has left pictures beside its record." in page(full_study, gallery)
    assert contact_sheets(full_study, gallery) == []
    empty = study_of(full_store, Design("none", "", ()))
    assert "pictures" not in page(empty, read_gallery(full_store, empty))


def test_contact_sheets_have_a_row_per_cell_and_a_figure_per_loss(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {"depth": (1, 2), "loss": ("bce", "mse"), "latent": (2, 20)}
    study, gallery = pictured(store, design(axes, seeds=1))
    drawings = contact_sheets(study, gallery)
    assert [drawing.name for drawing in drawings] == ["pictures-bce", "pictures-mse"]
    grid = np.reshape(drawings[0].figure.axes, (4, 4))
    labels = [axes.get_ylabel() for axes in grid[:, 0]]
    assert labels == [f"depth {d}, latent size {n}" for d in (1, 2) for n in (2, 20)]
    bce = [cell for cell in gallery.cells if cell.settings["loss"] == "bce"]
    for row, cell in zip(grid, bce, strict=True):
        for axes, sheet in zip(row, cell.sheets, strict=True):
            assert (np.asarray(axes.images[0].get_array()) == sheet.pixels).all()
    figure = drawings[0].figure
    figure.draw_without_rendering()
    for words in (*(axes.yaxis.label for axes in grid[:, 0]), *(axes.title for axes in grid[0])):
        ends = words.get_window_extent()
        assert ends.x0 >= 0
        assert ends.y1 <= figure.bbox.height
    assert "(n = 1 run each" in page(study, gallery)
    leave_fonts_uncut(monkeypatch)
    assert image(drawings[0], "pdf") == image(contact_sheets(study, gallery)[0], "pdf")


def test_images_of_all_sizes_stand_in_one_figure_where_only_their_data_vary(store: Store) -> None:
    study, gallery = pictured(store, design({"data.name": ("digits", "mnist")}, seeds=1))
    (drawing,) = contact_sheets(study, gallery)
    assert [axes.get_ylabel() for axes in drawing.figure.axes[::4]] == ["digits", "MNIST"]
    assert [cell.zoom for cell in gallery.cells] == [4, 1]


def test_figures_of_places_in_the_same_letters_are_numbered() -> None:
    names = figure_names("pictures", ["own/é", "own/è", "bce"])
    assert names == ["pictures-own-1", "pictures-own-2", "pictures-bce"]
    others = figure_names("pictures", ["../../x", "a/b\\c"])
    assert others == ["pictures-x", "pictures-a-b-c"]  # no folder of another's choosing
