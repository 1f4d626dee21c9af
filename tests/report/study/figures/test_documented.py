"""Figures of the documented loss: closed forms where there are data, else no figure."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from hvae.config import RunConfig
from hvae.records.store import Record, Store
from report.data.frames import Study, load
from report.study.figures.documented import draw_documented, joint_kl, kl_excess, objective_costs

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


@pytest.fixture
def study(store: Store, make_grid: Grid, make_record: Make) -> Study:
    """Joint KL 7, closed form 7 + 0.5·(depth − 1) + 0.01·seed; the documented objective costs
    2 + 0.1·seed nats of NLL."""
    configs = make_grid((1, 2), ("bce",), (20,), 3, ("documented", "elbo"))
    for config in configs:
        seed, is_documented = config.train.seed, config.train.objective == "documented"
        charged = 7.0 + 0.5 * (config.model.num_layers - 1) + 0.01 * seed
        metrics = {
            "reconstruction_nats": 50.0,
            "rate_nats": 7.0,
            "loss_documented": 50.0 + 2 * charged,
            "nll_nats": 60.0 + seed + (2.0 + 0.1 * seed if is_documented else 0.0),
        }
        store.write(make_record(config, metrics=metrics))
    return load(store, configs)


def heights(container: ErrorbarContainer) -> list[float]:
    return [float(y) for y in np.asarray(container[0].get_ydata())]


def test_both_sums_stand_in_a_panel_per_objective(study: Study) -> None:
    drawing = joint_kl(study)
    assert drawing is not None
    assert [a.get_title() for a in drawing.figure.axes] == ["BCE, documented", "BCE, elbo"]
    for axes in drawing.figure.axes:
        closed, joint = (c for c in axes.containers if isinstance(c, ErrorbarContainer))
        assert heights(closed) == pytest.approx([7.01, 7.51])
        assert heights(joint) == pytest.approx([7.0, 7.0])
        ends = np.asarray(axes.collections[0].get_paths()[1].vertices)[:, 1]
        # Interval of the paired difference: t(0.975, 2) · 0.01 / √3 = 0.0248.
        assert ends == pytest.approx([7.51 - 0.02484, 7.51 + 0.02484], abs=1e-5)
    assert "n = 3" in drawing.caption
    assert "paired difference" in drawing.caption


def test_the_excess_is_drawn_about_zero(study: Study) -> None:
    drawing = kl_excess(study)
    assert drawing is not None
    for axes in drawing.figure.axes:
        (bars,) = (c for c in axes.containers if isinstance(c, ErrorbarContainer))
        assert heights(bars) == pytest.approx([0.01, 0.51])
        assert [0.0, 0.0] in [list(np.asarray(line.get_ydata())) for line in axes.lines]


def test_the_objectives_are_paired_and_absent_metrics_make_no_panel(study: Study) -> None:
    drawing = objective_costs(study)
    assert drawing is not None
    titles = [axes.get_title() for axes in drawing.figure.axes]
    assert titles == ["BCE, NLL", "BCE, rate"]  # no ELBO in these records
    (bars,) = (c for c in drawing.figure.axes[0].containers if isinstance(c, ErrorbarContainer))
    assert heights(bars) == pytest.approx([2.1, 2.1])
    assert "β = 2" in drawing.caption
    assert "MSE" not in drawing.caption


def test_one_objective_has_no_cost_and_one_level_no_excess(
    full_store: Store, make_grid: Grid
) -> None:
    assert objective_costs(load(full_store, make_grid())) is None
    assert draw_documented(load(full_store, make_grid((1,)))) == []
    names = [drawing.name for drawing in draw_documented(load(full_store, make_grid()))]
    assert names == ["joint-kl", "kl-excess"]


@pytest.mark.parametrize("absent", ["rate_nats", "loss_documented", "reconstruction_nats"])
def test_a_sum_that_cannot_be_formed_is_not_drawn(
    store: Store, make_grid: Grid, make_record: Make, absent: str
) -> None:
    configs = make_grid((2,), ("mse",), (20,), 2)
    for config in configs:
        metrics = {**make_record(config).metrics, absent: None}
        store.write(make_record(config, metrics=metrics))
    assert draw_documented(load(store, configs)) == []
