"""The forest of contrasts: what a row is, and what is filled."""

from typing import Any

import numpy as np
import pytest
from builders import design, filled
from matplotlib.container import ErrorbarContainer

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import Study
from report.render.drawing import Drawing
from report.study.figures.effects import effects

pytestmark = pytest.mark.usefixtures("no_layout")
OBJECTIVES = {"depth": (1, 2), "objective": ("documented", "elbo")}


def drawn(study: Study, factor: int = -1) -> Drawing:
    drawing = effects(study, study.factors[factor])
    return drawing


def rows(drawing: Drawing) -> list[str]:
    return [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]


def test_a_row_is_a_cell_and_a_bar_the_interval_of_its_paired_difference(store: Store) -> None:
    def nll(run: RunConfig) -> dict[str, Any]:
        seed, depth = run.train.seed, run.model.num_layers
        cost = depth + 0.1 * seed if run.train.objective == "elbo" else 0.0
        return {"metrics": {"nll_nats": 60.0 + seed + cost * (depth - 1)}}

    drawing = drawn(filled(store, design(OBJECTIVES), nll))
    assert rows(drawing) == ["depth 1", "depth 2"]
    (axes,) = drawing.figure.axes
    same, dearer = (c for c in axes.containers if isinstance(c, ErrorbarContainer))
    assert np.asarray(dearer[0].get_xdata()).tolist() == pytest.approx([2.1])
    ends = np.asarray(dearer[2][0].get_paths()[0].vertices)[:, 0]
    assert ends == pytest.approx([2.1 - 0.24841, 2.1 + 0.24841], abs=1e-5)  # t(0.975, 2) · 0.1 / √3
    assert dearer[0].get_markerfacecolor() != "none"
    assert same[0].get_markerfacecolor() == "none"  # nothing changes at depth 1
    assert "n = 3" in drawing.caption


def test_every_step_from_the_reference_is_named(store: Store) -> None:
    variants = {"a": {}, "b": {"objective": "elbo"}, "c": {"loss": "mse"}}
    drawing = drawn(filled(store, design({"depth": (1, 2)}, variants)))
    assert rows(drawing) == [f"a → {other}, depth {depth}" for other in "bc" for depth in (1, 2)]
    titles = [axes.get_title() for axes in drawing.figure.axes]
    assert titles == ["NLL (nats)", "scoreboard NLL (nats)", "PSNR (dB)"]


def test_too_many_rows_give_way_to_the_main_effects(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("report.study.figures.effects.MOST_ROWS", 5)
    axes = {"latent": range(1, 7), "loss": ("bce", "mse")}
    assert rows(drawn(filled(store, design(axes, seeds=2)))) == ["mean over latent size"]
