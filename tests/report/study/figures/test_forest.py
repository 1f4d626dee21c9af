"""Every main effect in one figure."""

from typing import Any

import numpy as np
import pytest
from builders import design, filled
from matplotlib.container import BarContainer, ErrorbarContainer

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import Study
from report.render.drawing import Drawing
from report.study.figures.forest import forest

pytestmark = pytest.mark.usefixtures("no_layout")


def drawn(study: Study) -> Drawing:
    drawing = forest(study)
    assert drawing is not None
    return drawing


def rows(drawing: Drawing) -> list[str]:
    return [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]


def nll(run: RunConfig) -> dict[str, Any]:
    """Depth 2 costs 2 nats, objective ELBO about nothing."""
    elbo = 0.1 * (run.train.seed - 1) * (run.train.objective == "elbo")
    metrics = {"nll_nats": 60.0 + 2.0 * run.model.num_layers + elbo, "psnr_db": 20.0}
    return {"metrics": metrics | {"scoreboard_nll_nats": metrics["nll_nats"]}}


def test_a_row_is_a_step_filled_where_found_over_its_margin_where_not(store: Store) -> None:
    axes = {"depth": (1, 2), "objective": ("documented", "elbo")}
    drawing = drawn(filled(store, design(axes), nll))
    assert rows(drawing) == ["depth 1 → 2", "documented → ELBO"]
    panel = drawing.figure.axes[0]
    points = [c for c in panel.containers if isinstance(c, ErrorbarContainer)]
    means = [float(np.asarray(point[0].get_xdata())[0]) for point in points]
    assert means == pytest.approx([2.0, 0.0], abs=1e-9)
    assert [point[0].get_markerfacecolor() == "none" for point in points] == [False, True]
    (margin,) = (c for c in panel.containers if isinstance(c, BarContainer))
    assert margin[0].get_width() == pytest.approx(2 * 2.919986 * 0.1 / 3**0.5)  # t(0.95, 2)
    assert "(n = 3)" in drawing.caption


def test_what_may_not_be_averaged_is_a_row_of_its_own(store: Store) -> None:
    drawing = drawn(filled(store, design({"depth": (1, 2), "loss": ("bce", "mse")})))
    assert rows(drawing)[:3] == ["depth 1 → 2, BCE", "depth 1 → 2, MSE", "depth 1 → 2"]


@pytest.mark.parametrize(("factor", "scale"), [(1.0, "linear"), (1e4, "symlog")])
def test_an_effect_that_dwarfs_the_intervals_makes_the_scale_logarithmic(
    factor: float, scale: str, store: Store
) -> None:
    def change(run: RunConfig) -> dict[str, Any]:
        noise = 0.1 * ((run.train.seed * run.model.num_layers) % 3)
        return {"metrics": {"nll_nats": factor * (run.model.num_layers > 2) + noise}}

    drawing = drawn(filled(store, design({"depth": (1, 2, 3)}, seeds=5), change))
    assert drawing.figure.axes[0].get_xscale() == scale


def test_what_is_left_out_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("report.study.figures.forest.MOST_ROWS", 5)
    drawing = drawn(filled(store, design({"latent": range(1, 9)}, seeds=2)))
    assert len(rows(drawing)) == 5
    assert "2 more rows are in the table of contrasts" in drawing.caption


def test_one_seed_has_no_forest(store: Store) -> None:
    assert forest(filled(store, design({"depth": (1, 2)}, seeds=1))) is None
