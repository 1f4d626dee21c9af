"""Cost against quality: who is on the Pareto front, and who shares one."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvae.config import RunConfig
from hvae.records.store import Record, Store
from report.data.frames import load
from report.data.metrics import SHARE_NOTE
from report.study.figures.costs import PRICES, QUALITIES, cost, front, priced
from report.study.page import detail_tables

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def table(*points: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(points, columns=["price", "mean"])


def test_the_front_is_what_no_other_undercuts_in_price_and_mean() -> None:
    found = front(table((3, 5), (1, 10), (2, 12), (2, 7), (4, 5), (5, 1)))
    assert [*zip(found["price"], found["mean"], strict=True)] == [(1, 10), (2, 7), (3, 5), (5, 1)]


def test_of_equal_prices_the_better_is_on_the_front() -> None:
    assert front(table((1, 4), (1, 3), (1, 5)))["mean"].tolist() == [3]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_a_point_is_on_the_front_or_beaten_by_one_on_it(points: list[tuple[int, int]]) -> None:
    best = [*front(table(*points))[["price", "mean"]].itertuples(index=False, name=None)]
    for price, mean in points:
        beaten = any(p <= price and m <= mean and (p, m) != (price, mean) for p, m in best)
        assert beaten != ((price, mean) in best)


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("metric", QUALITIES)
def test_a_figure_has_a_panel_per_loss_a_front_and_says_n_and_intervals(
    metric: str, price: str, full_store: Store, make_grid: Grid
) -> None:
    drawing = cost(load(full_store, make_grid()), metric, price)
    assert drawing is not None
    assert [axes.get_title() for axes in drawing.figure.axes] == ["BCE", "MSE"]
    for words in ("n = 3", "95 % t intervals", "Pareto front"):
        assert words in drawing.caption


def steps(study_metric: str, store: Store, configs: list[RunConfig]) -> list[list[float]]:
    """The heights of the front in each panel."""
    drawing = cost(load(store, configs), study_metric, "flops_per_image")
    assert drawing is not None
    lines = [axes.get_lines()[0] for axes in drawing.figure.axes]
    assert {line.get_label() for line in lines} == {"Pareto front"}
    return [np.asarray(line.get_ydata(), float).tolist() for line in lines]


def test_losses_have_fronts_of_their_own_and_one_on_the_common_yardstick(
    full_store: Store, make_grid: Grid
) -> None:
    own = steps("nll_nats", full_store, make_grid())
    common = steps("scoreboard_nll_nats", full_store, make_grid())
    assert own[0] != own[1]
    assert common[0] == common[1]


def test_a_front_only_falls_and_ends_at_the_dearest_cell(
    full_store: Store, make_grid: Grid
) -> None:
    study = load(full_store, make_grid())
    drawing = cost(study, "nll_nats", "flops_per_image")
    assert drawing is not None
    dearest = priced(study, "nll_nats", "flops_per_image")["price"].max()
    for axes in drawing.figure.axes:
        line = axes.get_lines()[0]
        assert np.max(np.asarray(line.get_xdata(), float)) == dearest
        assert (np.diff(np.asarray(line.get_ydata(), float)) <= 0).all()


def test_the_time_of_a_run_is_said_to_be_a_share_of_its_packs(
    full_store: Store, make_grid: Grid
) -> None:
    study = load(full_store, make_grid())
    drawing = cost(study, "nll_nats", "train_seconds")
    assert drawing is not None
    assert "training time of a run is an equal share of its pack's time" in drawing.caption
    more = detail_tables(study)[0]
    assert "training, share of pack (s)" in more.headings
    assert SHARE_NOTE in more.notes


def test_arithmetic_is_in_mega_flop(store: Store, make_grid: Grid, make_record: Make) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 1)
    for config in configs:
        store.write(make_record(config, flops_per_image=2_500_000 * config.model.num_layers))
    found = priced(load(store, configs), "nll_nats", "flops_per_image")
    assert found["price"].tolist() == [2.5, 5.0]


def test_one_price_for_all_is_no_figure(store: Store, make_grid: Grid, make_record: Make) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 1)
    for config in configs:
        store.write(make_record(config, seconds={"train": 2.0}, flops_per_image=7))
    study = load(store, configs)
    assert all(cost(study, metric, price) is None for metric in QUALITIES for price in PRICES)
