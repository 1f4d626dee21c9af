"""Samples laid out by two factors."""

import numpy as np
from builders import design, pictured

from hvae.records.store import Store
from report.study.pictures.gallery import Gallery
from report.study.pictures.sample_grids import sample_grids


def test_rows_and_columns_are_the_ordered_factors_and_figures_the_others(store: Store) -> None:
    axes = {"depth": (1, 2), "loss": ("bce", "mse"), "latent": (2, 20)}
    study, gallery = pictured(store, design(axes))
    bce, mse = sample_grids(study, gallery)
    assert (bce.name, mse.name) == ("samples-bce", "samples-mse")
    (panel,) = bce.figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["depth 1", "depth 2"]
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels == ["latent size 2", "latent size 20"]
    runs = study.runs[(study.runs["loss"] == "bce") & (study.runs["depth"] == 2)]
    mean = runs[runs["latent"] == 20]["nll_nats"].mean()
    (text,) = (text for text in panel.texts if text.get_text() == f"{mean:.2f}")
    (cell,) = (c for c in gallery.cells if [*c.settings.values()][:3] == [2, "bce", 20])
    pixels = cell.sheets[0].pixels
    canvas = np.asarray(panel.images[0].get_array())
    height, width = pixels.shape
    gap = canvas.shape[0] // 2 - height
    drawn = canvas[-height:, -width - gap : -gap]
    assert (drawn == 17 * np.round(pixels / 17)).all()  # the nearest of 16 greys
    assert len(np.unique(drawn)) <= 16 < len(np.unique(pixels))
    x, y = text.get_position()
    assert panel.get_xticks()[1] == x  # above that sheet, which is the last
    assert canvas.shape[0] - height - gap < y < canvas.shape[0] - height


def test_images_of_two_sizes_stand_in_the_middle_of_their_places(store: Store) -> None:
    axes = {"depth": (1, 2), "data.name": ("digits", "mnist")}
    study, gallery = pictured(store, design(axes, seeds=1))
    (drawing,) = sample_grids(study, gallery)
    canvas = np.asarray(drawing.figure.axes[0].images[0].get_array())
    small, large = (
        next(c for c in gallery.cells if c.settings["data.name"] == name).sheets[0].pixels
        for name in axes["data.name"]
    )
    assert np.isfinite(canvas).sum() == 2 * (small.size + large.size)
    height, width = large.shape
    gap = canvas.shape[0] // 2 - height
    place = np.isfinite(canvas[gap : gap + height, :width])  # of the small one, above
    for axis in (0, 1):
        there = np.flatnonzero(place.any(1 - axis))
        assert abs(there[0] - (place.shape[axis] - 1 - there[-1])) <= 1
        assert len(there) == small.shape[axis]


def test_places_that_are_one_file_name_are_numbered(store: Store) -> None:
    variants = {"β < 1": {"train.kl_weight": 0.5}, "β > 1": {"train.kl_weight": 2.0}}
    axes = {"depth": (1, 2), "latent": (2, 20)}
    study, gallery = pictured(store, design(axes, variants, seeds=1))
    names = [drawing.name for drawing in sample_grids(study, gallery)]
    assert names == ["samples-1-1", "samples-1-2"]


def test_one_factor_or_no_picture_has_no_grid(store: Store) -> None:
    study, gallery = pictured(store, design({"depth": (1, 2)}, seeds=1))
    assert sample_grids(study, gallery) == []
    assert sample_grids(study, Gallery()) == []
