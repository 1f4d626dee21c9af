"""Figures: drawn from the data that are there, never an empty axis."""

from typing import Any

import numpy as np
import pytest
from builders import SMALL, design, filled, leave_out_layout, record, study_of
from luminance import relative_luminance

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.design import Design
from report.data.frames import Study
from report.data.metrics import METRICS
from report.render.drawing import Drawing, image, svg
from report.render.numbers import cell_text, count_text
from report.study.figures.every import LEVEL_MAPS, figures
from report.study.figures.quality import against, bound_curve, level_map, loss_curves

ELBO, SCOREBOARD, EXCESS = (
    METRICS[name] for name in ("elbo_nats", "scoreboard_nll_nats", "kl_excess_nats")
)
VARIANTS: dict[str, dict[str, Any]] = {
    "documented": {},
    "ELBO": {"objective": "elbo"},
    "MSE": {"loss": "mse"},
}


@pytest.fixture(scope="module")
def drawings(full_study: Study) -> list[Drawing]:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_layout(patch)
        return draw_all(full_study)


def draw_all(study: Study) -> list[Drawing]:
    return [drawing for draw in figures(study) if (drawing := draw(study)) is not None]


def check(drawings: list[Drawing]) -> set[str]:
    """Every figure has data, labels and a caption with n; their names."""
    names = [drawing.name for drawing in drawings]
    assert len(set(names)) == len(names)
    for drawing in drawings:
        assert "n = " in drawing.caption, drawing.name
        for axes in drawing.figure.axes:
            assert axes.has_data(), drawing.name
            assert axes.get_xlabel() or drawing.name == "diagram", drawing.name
    return set(names)


def test_every_ordered_axis_has_its_figures_and_every_other_factor_its_effects(
    drawings: list[Drawing],
) -> None:
    every = {"loss-curves", "rate-distortion", "bound-curve", "effects-loss"}
    every |= {"forest", "diagram"}
    every |= {f"{name.replace('_', '-')}-per-level" for name, *_ in LEVEL_MAPS}
    for axis in ("depth", "latent"):
        every |= {f"nll_nats-{axis}", f"kl_excess_nats-{axis}", f"throughput-{axis}"}
    assert check(drawings) >= every


@pytest.mark.usefixtures("no_layout")
def test_a_study_of_variants_only_is_drawn_too(store: Store) -> None:
    names = check(draw_all(filled(store, design({}, VARIANTS))))
    assert {"forest", "scoreboard_nll_nats-variant", "kl-nats-per-level"} <= names
    assert "effects-variant" not in names  # it would be the forest again
    assert "nll_nats-variant" not in names  # one of them has another likelihood


def titles(drawing: Drawing | None) -> list[str]:
    return [axes.get_title() for axes in drawing.figure.axes]


def lines(drawing: Drawing | None) -> list[str]:
    """The labels of the lines of the first panel."""
    _, labels = drawing.figure.axes[0].get_legend_handles_labels()
    return labels


def test_what_may_not_be_compared_has_panels_and_the_rest_stands_in_one(full_study: Study) -> None:
    depth = full_study.factors[0]
    own, common = (against(full_study, metric, depth) for metric in (ELBO, SCOREBOARD))
    assert titles(own) == ["BCE", "MSE"]
    assert lines(own) == ["latent size 2", "latent size 20"]
    assert titles(common) == [""]
    assert len(lines(common)) == 4  # two losses of two latent sizes
    bce, mse = (axes.get_ylim() for axes in own.figure.axes)
    assert bce != mse


def test_variants_of_one_likelihood_share_a_panel_where_nothing_else_needs_the_room(
    store: Store,
) -> None:
    study = filled(store, design({"depth": (1, 2, 3)}, VARIANTS))
    depth, _ = study.factors
    own = against(study, ELBO, depth)
    assert titles(own) == ["", "MSE"]
    assert lines(own) == ["documented", "ELBO"]
    assert titles(against(study, SCOREBOARD, depth)) == [""]
    curve = bound_curve(study)  # three depths and three variants are more than there are colours
    assert titles(curve) == ["documented", "ELBO", "MSE"]
    assert lines(curve) == ["depth 1", "depth 2", "depth 3"]


def test_the_studied_factor_is_a_colour_where_there_is_room(store: Store) -> None:
    axes = {"depth": (1, 2), "train.kl_weight": (0.5, 1.0, 2.0)}
    variants = {name: VARIANTS[name] for name in ("documented", "ELBO")}
    study = filled(store, design(axes, variants))
    depth, weight, _ = study.factors
    assert len(lines(against(study, ELBO, depth))) == 3 * 2  # as many as there are colours
    assert len(lines(against(study, ELBO, weight))) == 2 * 2
    wider = filled(store, design({**axes, "latent": (2, 20)}, variants, seeds=1))
    drawing = against(wider, ELBO, wider.factors[0])
    assert titles(drawing) == ["latent size 2", "latent size 20"]  # no room for it
    assert lines(drawing)[0] == "documented, KL weight 0.5"


def test_a_heat_map_of_noise_around_zero_stays_light(store: Store) -> None:
    gains = {"metrics": record(SMALL).metrics | {"level_gain_nats": [-0.01, 0.001]}}
    study = filled(store, design({"latent": (2, 5)}, seeds=1), lambda run: gains)
    drawing = level_map(study, "gain_nats", "", "nats per image")
    mesh = drawing.figure.axes[0].collections[0]
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0.0, 0.1)


def test_words_at_an_axis_turn_where_they_would_meet(store: Store) -> None:
    def angles(variants: dict[str, dict[str, Any]]) -> set[float]:
        study = filled(store, design({}, variants, seeds=1))
        drawing = against(study, SCOREBOARD, study.factors[0])
        return {label.get_rotation() for label in drawing.figure.axes[0].get_xticklabels()}

    assert angles(VARIANTS) == {0.0}
    long = {f"{10 * name} {name}": {"train.kl_weight": n} for n, name in enumerate("abcdef", 1)}
    assert angles(long) == {30.0}


def test_a_logarithmic_axis_is_one(full_study: Study) -> None:
    drawing = against(full_study, ELBO, full_study.factors[2])
    axes = drawing.figure.axes[0]
    assert axes.get_xlabel() == "latent size (dimensions), log scale"
    assert axes.get_xticks().tolist() == np.log10([2, 20]).tolist()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "20"]


def test_error_bars_end_where_the_interval_ends(store: Store) -> None:
    def elbo(run: RunConfig) -> dict[str, Any]:
        return {"metrics": {"elbo_nats": float(run.train.seed + 10 * run.model.num_layers)}}

    study = filled(store, design({"depth": (1, 2)}), elbo)
    drawing = against(study, ELBO, study.factors[0])
    (bars,) = drawing.figure.axes[0].collections
    ends = np.asarray(bars.get_paths()[0].vertices)[:, 1]
    assert tuple(ends) == pytest.approx((11.0 - 2.4841377, 11.0 + 2.4841377))  # t(0.975, 2) / √3


def test_the_excess_is_drawn_about_zero(full_study: Study) -> None:
    drawing = against(full_study, EXCESS, full_study.factors[0])
    for axes in drawing.figure.axes:
        assert [0.0, 0.0] in [list(np.asarray(line.get_ydata())) for line in axes.lines]


@pytest.mark.parametrize("metrics", [{}, {"elbo_nats": None}, {"kl_per_level_nats": []}])
def test_figures_without_data_are_left_out(store: Store, metrics: dict[str, Any]) -> None:
    bare = {"metrics": metrics, "history": [], "throughput": {}, "seconds": {}}
    asked = design({"depth": (1, 2), "latent": (2, 20)}, seeds=2)
    assert draw_all(filled(store, asked, lambda run: bare)) == []


def test_a_diverged_run_is_dotted_and_neither_in_the_mean_nor_in_the_scale(store: Store) -> None:
    burst: list[dict[str, Any]] = [{"epoch": e, "loss": 10.0**e} for e in (1, 2, 3)]
    lost = {"status": "diverged", "history": [*burst, {"epoch": 4, "loss": None}]}
    asked = design({"depth": (1,)})
    drawing = loss_curves(filled(store, asked, lambda run: lost if run.train.seed == 2 else {}))
    (axes,) = drawing.figure.axes
    mean, dotted = axes.lines
    assert np.asarray(dotted.get_ydata()).tolist() == [10.0, 100.0, 1000.0]
    assert dotted.get_linestyle() == ":"
    assert max(np.asarray(mean.get_ydata())) < axes.get_ylim()[1] < 1000.0
    assert "(n = 2)" in drawing.caption
    assert "diverged" in drawing.caption


def test_every_loss_curve_lies_within_its_panel_where_panels_share_a_scale(store: Store) -> None:
    def history(run: RunConfig) -> dict[str, Any]:
        if (run.model.latent_dim, run.train.seed) == (5, 2):
            burst = [{"epoch": epoch, "loss": 10.0 ** (3 + epoch)} for epoch in (1, 2, 3)]
            return {"status": "diverged", "history": burst}
        level = 20.0 * run.model.latent_dim
        return {"history": [{"epoch": epoch, "loss": level + 10 / epoch} for epoch in (1, 2, 3)]}

    asked = design({"depth": (1, 2, 3), "latent": (2, 5, 20)})
    drawing = loss_curves(filled(store, asked, history))
    assert len(drawing.figure.axes) == 3
    for axes in drawing.figure.axes:
        low, high = axes.get_ylim()
        for line in axes.lines:
            is_inside = low < min(line.get_ydata()) <= max(line.get_ydata()) < high < 10_000
            assert is_inside == (line.get_linestyle() != ":")


def test_a_heat_map_has_a_row_per_depth_or_else_per_cell(full_study: Study, store: Store) -> None:
    def rows(study: Study) -> list[str]:
        drawing = level_map(study, "kl_nats", "KL", "nats")
        return [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]

    assert rows(full_study) == ["1", "2", "3"]
    other = filled(store, design({"latent": (2, 20)}, {"a": {}, "b": {"objective": "elbo"}}))
    assert rows(other) == ["2, a", "2, b", "20, a", "20, b"]


def test_numbers_on_a_heat_map_can_be_read(full_study: Study) -> None:
    drawing = level_map(full_study, "kl_nats", "KL", "nats")
    for axes in drawing.figure.axes:
        (mesh,) = axes.collections
        mesh.update_scalarmappable()
        shades = np.asarray(mesh.get_facecolor())[~np.ma.getmaskarray(mesh.get_array()).ravel()]
        texts = [text for text in axes.texts if text.get_text()]
        assert len(shades) == len(texts) > 0
        for text, shade in zip(texts, shades, strict=True):
            pair = sorted((relative_luminance(shade), relative_luminance(text.get_color())))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


def test_a_study_without_records_has_no_figure(store: Store) -> None:
    assert draw_all(study_of(store, design())) == []
    assert draw_all(study_of(store, Design("none", "", ()))) == []


def test_the_same_records_give_the_same_bytes(full_study: Study) -> None:
    first, second = (level_map(full_study, "kl_nats", "KL", "nats") for _ in range(2))
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
