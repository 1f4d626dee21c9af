"""Figures: drawn from the data that are there, never an empty axis."""

from collections.abc import Callable

import numpy as np
import pytest
from builders import grid, record
from seaborn.utils import relative_luminance

from hvae.config import RunConfig
from hvae.records.store import Record, Store
from report.data.frames import load
from report.render.drawing import Drawing, image, svg
from report.study.figures.quality import (
    against,
    cell_text,
    count_text,
    draw_all,
    level_map,
    loss_curves,
)

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


EVERY_STUDY_HAS = {
    "loss-curves",
    "nll_nats-depth",
    "nll_nats-latent",
    "rate-distortion",
    "kl-nats-per-level",
    "value-nats-per-level",
    "active-units-per-level",
    "bound-curve",
    "throughput-depth",
}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> list[Drawing]:
    store = Store(tmp_path_factory.mktemp("study"))
    store.open_for_writing()
    for config in grid():
        store.write(record(config))
    return draw_all(load(store, grid()))


def test_every_figure_has_data_axis_labels_and_a_caption_with_n(drawings: list[Drawing]) -> None:
    names = [drawing.name for drawing in drawings]
    assert len(set(names)) == len(names)
    assert set(names) >= EVERY_STUDY_HAS
    for drawing in drawings:
        assert "n = " in drawing.caption, drawing.name
        for axes in drawing.figure.axes:
            assert axes.has_data(), drawing.name
            assert axes.get_xlabel(), drawing.name
            assert axes.get_ylabel(), drawing.name


def test_own_family_numbers_are_drawn_in_a_panel_per_loss(
    full_store: Store, make_grid: Grid
) -> None:
    study = load(full_store, make_grid())
    elbo, common = (against(study, m, "depth") for m in ("elbo_nats", "scoreboard_nll_nats"))
    assert elbo is not None
    assert common is not None
    assert [axes.get_title() for axes in elbo.figure.axes] == ["BCE", "MSE"]
    bce, mse = (axes.get_ylim() for axes in elbo.figure.axes)
    assert bce != mse
    left, right = (axes.get_ylim() for axes in common.figure.axes)
    assert left == right  # one yardstick, one scale


def test_error_bars_end_where_the_interval_ends(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 3)
    for config in configs:
        value = float(config.train.seed + 10 * config.model.num_layers)
        store.write(make_record(config, metrics={"elbo_nats": value}))
    drawing = against(load(store, configs), "elbo_nats", "depth")
    assert drawing is not None
    (bars,) = drawing.figure.axes[0].collections
    ends = np.asarray(bars.get_paths()[0].vertices)[:, 1]
    assert tuple(ends) == pytest.approx((11.0 - 2.4841377, 11.0 + 2.4841377))  # t(0.975, 2) / √3


@pytest.mark.parametrize("metrics", [{}, {"elbo_nats": None}, {"kl_per_level_nats": []}])
def test_figures_without_data_are_left_out(
    store: Store, make_grid: Grid, make_record: Make, metrics: dict[str, object]
) -> None:
    configs = make_grid((1, 2), ("bce",), (2, 20), 2)
    for config in configs:
        store.write(make_record(config, metrics=metrics, history=[], throughput={}, seconds={}))
    assert draw_all(load(store, configs)) == []


def test_a_diverged_run_is_dotted_and_neither_in_the_mean_nor_in_the_scale(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1,), ("bce",), (20,), 3)
    for config in configs[:2]:
        store.write(make_record(config))
    burst = [{"epoch": epoch, "loss": 10.0**epoch} for epoch in (1, 2, 3)]
    burst.append({"epoch": 4, "loss": None})
    store.write(make_record(configs[2], status="diverged", history=burst))
    drawing = loss_curves(load(store, configs))
    assert drawing is not None
    (axes,) = drawing.figure.axes
    mean, dotted = axes.lines
    assert np.asarray(dotted.get_ydata()).tolist() == [10.0, 100.0, 1000.0]
    assert dotted.get_linestyle() == ":"
    assert max(np.asarray(mean.get_ydata())) < axes.get_ylim()[1] < 1000.0
    assert "(n = 2)" in drawing.caption
    assert "diverged" in drawing.caption


def test_numbers_on_a_heat_map_can_be_read(full_store: Store, make_grid: Grid) -> None:
    drawing = level_map(load(full_store, make_grid()), "kl_nats", "KL", "nats")
    assert drawing is not None
    for axes in drawing.figure.axes:
        (mesh,) = axes.collections
        shades = np.asarray(mesh.get_facecolor())[~np.ma.getmaskarray(mesh.get_array()).ravel()]
        assert len(shades) == len(axes.texts) > 0
        for text, shade in zip(axes.texts, shades, strict=True):
            pair = sorted((relative_luminance(shade), relative_luminance(text.get_color())))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


def test_a_study_without_records_has_no_figure(store: Store, make_grid: Grid) -> None:
    assert draw_all(load(store, make_grid())) == []
    assert draw_all(load(store, [])) == []


def test_the_same_records_give_the_same_bytes(full_store: Store, make_grid: Grid) -> None:
    study = load(full_store, make_grid())
    first, second = (level_map(study, "kl_nats", "KL", "nats") for _ in range(2))
    assert first is not None
    assert second is not None
    assert svg(first) == svg(second) == svg(second)
    assert image(first, "pdf") == image(second, "pdf")
    assert b"CreationDate" not in image(first, "pdf")
    assert image(first, "png").startswith(b"\x89PNG")


def test_svg_takes_the_pages_ink_and_needs_nothing_outside(drawings: list[Drawing]) -> None:
    text = svg(drawings[0])
    assert "var(--ink)" in text
    assert "<metadata" not in text
    assert "<image" not in text
    assert f'id="{drawings[0].name}-' in text  # ids of its own among many figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.42e-05, "0.00"), (-0.0049, "0.00"), (-0.018, "−0.02"), (1.04, "1.04"), (25.31, "25.3")],
)
def test_a_cell_of_a_heat_map_has_two_decimals_at_most(value: float, text: str) -> None:
    assert cell_text(value) == text


def test_a_mean_count_has_a_decimal_only_where_it_needs_one() -> None:
    assert [count_text(value) for value in (0.0, 2.0, 5.5)] == ["0", "2", "5.5"]
