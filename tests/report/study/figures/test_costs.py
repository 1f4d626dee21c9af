"""Cost against quality: who is on the Pareto front, and who shares one."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import design, filled, record
from hypothesis import given
from hypothesis import strategies as st

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import Study
from report.data.metrics import METRICS, SHARE_NOTE
from report.study.figures.costs import PRICES, QUALITIES, cost, front, machine_of, priced
from report.study.page import detail_tables

NLL, SCOREBOARD = (METRICS[name] for name in QUALITIES)


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
def test_losses_have_panels_and_fronts_of_their_own_but_share_a_common_yardstick(
    full_study: Study, price: str
) -> None:
    own, common = (cost(full_study, metric, price) for metric in (NLL, SCOREBOARD))
    assert [axes.get_title() for axes in own.figure.axes] == ["BCE", "MSE"]
    assert len(common.figure.axes) == 1
    for words in ("n = 3", "95 % t intervals", "Pareto front"):
        assert words in own.caption
    fronts = [axes.get_lines()[0] for axes in own.figure.axes]
    heights = [np.asarray(line.get_ydata(), float) for line in fronts]
    assert {line.get_label() for line in fronts} == {"Pareto front"}
    assert heights[0].max() < heights[1].min()  # MSE nats are of another family
    dearest = priced(full_study, NLL, price, machine_of(full_study))["price"].max()
    for line, falling in zip(fronts, heights, strict=True):
        assert np.max(np.asarray(line.get_xdata(), float)) == dearest
        assert (np.diff(falling) <= 0).all()


def test_time_is_all_images_of_the_training_over_the_measured_rate(store: Store) -> None:
    asked = design({"depth": (1, 2)}, seeds=1)

    def at(run: RunConfig) -> dict[str, Any]:
        rate = 1000.0 / run.model.num_layers
        step = {**record(run).throughput["measurements"][0], "images_per_second": rate}
        assert (step["task"], step["batch_size"]) == ("train_step", run.train.batch_size)
        seconds = {"train": 1e9}  # what the clock said is no price
        return {"throughput": {"measurements": [step]}, "seconds": seconds}

    study = filled(store, asked, at)
    found = priced(study, NLL, "time", machine_of(study))
    assert found["price"].tolist() == [4 * 1437 / 1000, 4 * 1437 / 500]  # epochs, images, rate


def test_arithmetic_is_that_of_the_whole_training(store: Store) -> None:
    flops = {"flops_per_image": 1000}
    study = filled(store, design({"train.epochs": (2, 8)}, seeds=1), lambda run: flops)
    found = priced(study, NLL, "arithmetic", "")
    assert found["price"].tolist() == [2 * 1437 * 1000, 8 * 1437 * 1000]


def test_the_time_of_a_run_is_said_to_be_a_share_of_its_packs(full_study: Study) -> None:
    more = detail_tables(full_study)[0]
    assert "training, share of pack (s)" in more.headings
    assert SHARE_NOTE in more.notes


def test_one_price_for_all_is_no_figure(store: Store) -> None:
    axes = {"train.kl_weight": (0.5, 1.0)}
    study = filled(store, design(axes, seeds=1), lambda run: {"throughput": {}})
    assert all(
        cost(study, metric, price) is None for metric in (NLL, SCOREBOARD) for price in PRICES
    )
