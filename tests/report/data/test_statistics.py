"""Statistics against closed forms, hand-worked cases and simulated coverage."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from report.data.statistics import (
    contrasts,
    errors,
    interactions,
    minimum_detectable_effect,
    not_worse,
    paired,
    summary,
    top_level_values,
)


def runs(values: dict[tuple[int, str, int], list[float]], metric: str = "q") -> pd.DataFrame:
    """One row per seed of each (depth, loss, latent) cell."""
    return pd.DataFrame(
        [
            {"depth": d, "loss": loss, "latent": latent, "seed": seed, metric: value}
            for (d, loss, latent), row in values.items()
            for seed, value in enumerate(row)
        ]
    )


def test_summary_is_the_textbook_interval() -> None:
    table = summary(runs({(1, "bce", 2): [1.0, 2.0, 3.0]}), ["depth"], ["q"]).iloc[0]
    assert (table["n"], table["mean"], table["sd"]) == (3, 2.0, 1.0)
    assert table["half_width"] == pytest.approx(4.302652729911275 / math.sqrt(3))  # t(0.975, 2)
    assert table["upper"] - table["lower"] == pytest.approx(2 * table["half_width"])


def test_summary_skips_missing_values_and_one_run_has_no_interval() -> None:
    table = summary(runs({(1, "bce", 2): [1.0, math.nan]}), ["depth"], ["q", "absent"])
    assert table["n"].tolist() == [1]
    assert math.isnan(table["half_width"].item())


def test_a_contrast_is_scipys_paired_t_test() -> None:
    one, two = [1.0, 2.0, 4.0, 8.0], [1.5, 2.2, 4.9, 8.1]
    table = contrasts(runs({(1, "bce", 2): one, (2, "bce", 2): two}), "depth", "q", ["loss"])
    row, reference = table.iloc[0], stats.ttest_rel(two, one)
    assert row["n"] == 4
    assert row["p"] == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    assert (row["lower"], row["upper"]) == pytest.approx((interval.low, interval.high))


def test_neighbouring_levels_are_compared_in_order() -> None:
    table = contrasts(runs({(d, "bce", 2): [d, d + 0.1] for d in (4, 1, 2)}), "depth", "q", [])
    assert list(zip(table["from"], table["to"], strict=True)) == [(1, 2), (2, 4)]


def test_a_main_effect_averages_the_other_axes_on_complete_seeds_only() -> None:
    frame = runs(
        {
            (1, "bce", 2): [0.0, 0.0, 100.0],
            (2, "bce", 2): [1.0, 2.0, 0.0],
            (1, "bce", 20): [10.0, 10.0],
            (2, "bce", 20): [13.0, 14.0],
        }
    )
    row = contrasts(frame, "depth", "q", ["loss"], ["latent"]).iloc[0]
    assert row["n"] == 2  # seed 2 lacks latent 20
    assert row["difference"] == pytest.approx((2.0 + 3.0) / 2)


def test_a_cell_that_no_seed_has_leaves_no_seed_for_the_main_effect() -> None:
    frame = runs({(1, "bce", 2): [0.0] * 3, (2, "bce", 2): [1.0] * 3, (2, "bce", 20): [1.0] * 3})
    assert contrasts(frame, "depth", "q", ["loss"], ["latent"])["n"].tolist() == [0]


def test_an_interaction_is_the_difference_of_differences() -> None:
    frame = runs(
        {
            (1, "bce", 2): [0.0, 0.1, 0.2],
            (2, "bce", 2): [1.0, 1.2, 1.1],
            (1, "bce", 20): [5.0, 5.0, 5.0],
            (2, "bce", 20): [8.0, 8.1, 8.3],
        }
    )
    row = interactions(frame, ("depth", "latent"), "q", ["loss"]).iloc[0]
    by_seed = [3.0 - 1.0, 3.1 - 1.1, 3.3 - 0.9]
    assert row["difference"] == pytest.approx(np.mean(by_seed))
    assert row["p"] == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue)


def test_two_records_of_one_cell_and_seed_raise_and_are_never_averaged() -> None:
    frame = runs({(1, "bce", 2): [0.0, 1.0], (2, "bce", 2): [1.0, 2.0]})
    with pytest.raises(ValueError, match="duplicate"):
        contrasts(pd.concat([frame, frame]), "depth", "q", ["loss"])


def test_intervals_cover_the_truth_in_95_of_100_simulated_studies() -> None:
    rng = np.random.default_rng(7)
    seeds = rng.normal(size=(1000, 5, 1)) * 3.0  # what the pairing removes
    cells = seeds + rng.normal(size=(1000, 5, 2)) + np.array([0.0, 0.5])
    means, differences = [], []
    for trial in cells:
        frame = runs({(1, "bce", 2): [*trial[:, 0]], (2, "bce", 2): [*trial[:, 1]]})
        cell = summary(frame, ["depth"], ["q"]).iloc[0]
        means.append(cell["lower"] <= 0.0 <= cell["upper"])
        step = paired(pd.Series(trial[:, 1] - trial[:, 0]))
        differences.append(step["lower"] <= 0.5 <= step["upper"])
    assert 0.93 <= np.mean(means) <= 0.97
    assert 0.93 <= np.mean(differences) <= 0.97


@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_minimum_detectable_effect_is_found_with_power_80(n: int) -> None:
    rng = np.random.default_rng(n)
    effect = minimum_detectable_effect(n, 2.0)
    draws = rng.normal(effect, 2.0, size=(20_000, n))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.012)  # four standard errors


def test_one_seed_has_no_interval_no_p_and_no_detectable_effect() -> None:
    row = paired(pd.Series([1.0]))
    assert row["n"] == 1
    assert all(math.isnan(row[name]) for name in ("half_width", "p", "detectable"))


def test_identical_differences_are_certain_or_nothing() -> None:
    assert paired(pd.Series([2.0, 2.0, 2.0]))["p"] == 0.0
    assert paired(pd.Series([0.0, 0.0, 0.0]))["p"] == 1.0


CELLS = [(d, loss, latent) for d in (1, 2) for loss in ("bce", "mse") for latent in (2, 20)]
VALUES = st.lists(
    st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=4, max_size=4),
    min_size=len(CELLS),
    max_size=len(CELLS),
)


@settings(max_examples=20, deadline=None)
@given(VALUES, st.permutations(range(4)), st.permutations(range(4 * len(CELLS))))
def test_relabelling_the_seeds_and_shuffling_the_rows_changes_nothing(
    values: list[list[float]], labels: list[int], rows: list[int]
) -> None:
    frame = runs(dict(zip(CELLS, values, strict=True)))
    other = frame.assign(seed=[labels[seed] for seed in frame["seed"]]).iloc[rows]
    seen = ["n", "difference"]
    one, two = (contrasts(f, "depth", "q", ["loss"], ["latent"])[seen] for f in (frame, other))
    pd.testing.assert_frame_equal(one, two, atol=1e-9)
    one, two = (interactions(f, ("depth", "latent"), "q", ["loss"])[seen] for f in (frame, other))
    pd.testing.assert_frame_equal(one, two, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(VALUES, st.floats(-1e3, 1e3, allow_subnormal=False))
def test_a_shift_common_to_a_seed_leaves_every_contrast(
    values: list[list[float]], shift: float
) -> None:
    frame = runs(dict(zip(CELLS, values, strict=True)))
    moved = frame.assign(q=frame["q"] + shift * frame["seed"])
    before, after = (contrasts(f, "depth", "q", ["loss", "latent"]) for f in (frame, moved))
    assert after["difference"].tolist() == pytest.approx(before["difference"].tolist(), abs=1e-6)


def test_the_best_and_what_is_not_distinguishable_from_it_are_marked() -> None:
    frame = runs(
        {
            (1, "bce", 2): [0.0, 0.1, 0.2, 0.1],
            (2, "bce", 2): [9.0, 9.1, 9.3, 9.2],
            (3, "bce", 2): [9.1, 9.0, 9.2, 9.4],
            (4, "bce", 2): [99.0, 99.0],  # two runs: never marked, and no best for the others
        }
    )
    marks = not_worse(frame, ["depth"], "q", +1, ["loss"]).set_index("depth")["is_best"]
    assert marks.to_dict() == {1: False, 2: True, 3: True}
    lowest = not_worse(frame, ["depth"], "q", -1, ["loss"]).set_index("depth")["is_best"]
    assert lowest.to_dict() == {1: True, 2: False, 3: False}


def test_each_group_has_its_own_best() -> None:
    frame = runs({(1, "bce", 2): [9.0, 9.1, 9.2], (1, "mse", 2): [1.0, 1.1, 1.3]})
    assert not_worse(frame, ["depth", "loss"], "q", +1, ["loss"])["is_best"].all()
    assert not not_worse(frame, ["depth", "loss"], "q", +1, [])["is_best"].all()


def test_the_three_errors_are_kept_apart() -> None:
    frame = runs({(1, "bce", 2): [1.0, 2.0, 3.0]}, "elbo_nats").assign(
        elbo_standard_error_nats=[0.3, 0.3, 0.3], elbo_test_set_error_nats=[0.5, 0.5, 0.5]
    )
    row = errors(frame, ["depth"]).iloc[0]
    assert row["seed_error"] == pytest.approx(1 / math.sqrt(3))
    assert row["monte_carlo_error"] == pytest.approx(0.3 / math.sqrt(3))
    assert row["test_set_error"] == pytest.approx(0.5)  # more seeds do not shrink it


def test_the_top_level_is_judged_at_its_own_depth_only() -> None:
    levels = pd.DataFrame(
        [
            {"depth": d, "latent": 2, "seed": s, "level": t, "value_nats": 10.0 * d + t + 0.1 * s}
            for d in (1, 2, 3)
            for t in range(1, d + 1)
            for s in range(3)
        ]
    )
    table = top_level_values(levels, [])
    assert table["depth"].tolist() == [2, 3]
    assert table["difference"].tolist() == pytest.approx([22.1, 33.1])


@pytest.mark.parametrize("columns", [[], ["depth", "loss", "latent", "seed"]])
def test_no_runs_give_empty_tables_with_their_columns(columns: list[str]) -> None:
    empty = pd.DataFrame(columns=columns or ["depth", "loss", "latent", "seed"])
    assert "holm_p" in contrasts(empty, "depth", "q", ["loss"])
    assert "is_best" in not_worse(empty, ["depth"], "q", 1, ["loss"])
    assert "seed_error" in errors(empty, ["depth"])
