"""Statistics against closed forms, hand-worked cases and simulated coverage."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from report.data.statistics import errors, estimate, not_worse, paired, sign_p, summary

ERRORS = {"elbo_nats": ("elbo_standard_error_nats", "elbo_test_set_error_nats")}


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
    one, two = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.5, 2.2, 4.9, 8.1])
    row, reference = estimate(np.array([one, two]), (-1, 1)), stats.ttest_rel(two, one)
    assert row.n == 4
    assert row.p == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    ends = row.mean - row.half_width, row.mean + row.half_width
    assert ends == pytest.approx((interval.low, interval.high))
    assert row.correlation == pytest.approx(np.corrcoef(one, two)[0, 1])


def test_a_seed_that_lacks_a_side_is_left_out() -> None:
    row = estimate(np.array([[0.0, 1.0, 2.0], [1.0, math.nan, 5.0]]), (-1, 1))
    assert (row.n, row.mean) == (2, 2.0)


def test_equivalence_is_found_at_the_margin_and_no_nearer() -> None:
    values = np.array([0.1, -0.2, 0.3, 0.05])
    margin = paired(values).margin

    def p_of(bound: float) -> float:
        """The larger p of two one-sided tests within ± bound."""
        below = stats.ttest_1samp(values, bound, alternative="less").pvalue
        above = stats.ttest_1samp(values, -bound, alternative="greater").pvalue
        return float(max(below, above))

    assert p_of(margin * 1.001) < 0.05 < p_of(margin * 0.999)


def test_intervals_cover_the_truth_in_95_of_100_simulated_studies() -> None:
    rng = np.random.default_rng(7)
    seeds = rng.normal(size=(1000, 5, 1)) * 3.0  # what the pairing removes
    cells = seeds + rng.normal(size=(1000, 5, 2)) + np.array([0.0, 0.5])
    frame = runs({(1, "bce", study): [*trial[:, 0]] for study, trial in enumerate(cells)})
    means = summary(frame, ["latent"], ["q"])  # a study is a cell: asked for one by one they cost
    assert len(means) == len(cells)  # fifteen seconds
    steps = [paired(trial[:, 1] - trial[:, 0]) for trial in cells]
    differences = [abs(step.mean - 0.5) <= step.half_width for step in steps]
    assert 0.93 <= np.mean((means["lower"] <= 0.0) & (means["upper"] >= 0.0)) <= 0.97
    assert 0.93 <= np.mean(differences) <= 0.97


@pytest.mark.parametrize(("n", "tests"), [(3, 1), (5, 1), (20, 1), (5, 6)])
def test_the_detectable_effect_is_found_with_power_80(n: int, tests: int) -> None:
    rng = np.random.default_rng(n)
    effect = paired(2.0 * np.sqrt(n - 1) * np.r_[1.0, -1.0, np.zeros(n - 2)] / np.sqrt(2))
    assert effect.sd == pytest.approx(2.0)
    draws = rng.normal(effect.detectable(tests), 2.0, size=(20_000, n))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05 / tests
    assert np.mean(found) == pytest.approx(0.8, abs=0.012)  # four standard errors


def test_one_seed_has_no_interval_no_p_and_no_detectable_effect() -> None:
    row = paired([1.0])
    assert row.n == 1
    assert all(map(math.isnan, (row.half_width, row.p, row.margin, row.detectable())))


def test_identical_differences_are_certain_or_nothing() -> None:
    assert paired([2.0, 2.0, 2.0]).p == 0.0
    assert paired([0.0, 0.0, 0.0]).p == 1.0


SIDES = st.lists(
    st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=4, max_size=4),
    min_size=2,
    max_size=2,
)


@given(SIDES, st.permutations(range(4)), st.floats(-1e3, 1e3, allow_subnormal=False))
def test_neither_the_order_of_seeds_nor_what_they_share_changes_a_contrast(
    values: list[list[float]], order: list[int], shift: float
) -> None:
    sides = np.array(values)
    moved = sides[:, order] + shift * np.arange(4)
    before, after = (estimate(given, (-1, 1)) for given in (sides, moved))
    assert after.mean == pytest.approx(before.mean, abs=1e-9)
    assert after.sd == pytest.approx(before.sd, abs=1e-9)


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


@pytest.mark.parametrize(("spread", "is_best"), [(0.3, True), (0.25, False)])
def test_bold_is_adjusted_for_the_other_cells_and_the_best_is_none_of_them(
    spread: float, is_best: bool
) -> None:
    """p of one is 0.029, 0.020: of two cells twice that; thrice, were the best counted."""
    worse = [-1 - spread, -1.0, -1 + spread]
    frame = runs({(1, "bce", 2): [0.0] * 3, (2, "bce", 2): worse, (3, "bce", 2): worse})
    marks = not_worse(frame, ["depth"], "q", +1, ["loss"])["is_best"]
    assert marks.tolist() == [True, is_best, is_best]


def test_what_shares_too_few_seeds_with_the_best_is_not_marked() -> None:
    values = {(1, "bce", 2): [8.0, 8.1, 8.2], (2, "bce", 2): [math.nan, math.nan, 9.0, 9.1, 9.2]}
    marks = not_worse(runs(values), ["depth"], "q", +1, ["loss"]).set_index("depth")["is_best"]
    assert marks.to_dict() == {1: False, 2: True}


def test_each_group_has_its_own_best() -> None:
    frame = runs({(1, "bce", 2): [9.0, 9.1, 9.2], (1, "mse", 2): [1.0, 1.1, 1.3]})
    assert not_worse(frame, ["depth", "loss"], "q", +1, ["loss"])["is_best"].all()
    assert not not_worse(frame, ["depth", "loss"], "q", +1, [])["is_best"].all()


def test_the_three_errors_are_kept_apart() -> None:
    frame = runs({(1, "bce", 2): [1.0, 2.0, 3.0]}, "elbo_nats").assign(
        elbo_standard_error_nats=[0.1, 0.3, 0.5], elbo_test_set_error_nats=[0.1, 0.3, 0.8]
    )
    row = errors(frame, ["depth"], ERRORS).iloc[0]
    assert row["seed_error"] == pytest.approx(1 / math.sqrt(3))
    assert row["monte_carlo_error"] == pytest.approx(math.sqrt(0.35 / 3))  # all share the draws
    assert row["test_set_error"] == pytest.approx(0.4)  # more seeds do not shrink it


@pytest.mark.parametrize(("agreeing", "n"), [(9, 10), (8, 10), (3, 3), (5, 10)])
def test_the_sign_test_is_the_exact_two_sided_one(agreeing: int, n: int) -> None:
    assert sign_p(agreeing, n) == pytest.approx(stats.binomtest(agreeing, n).pvalue)


def test_no_runs_give_empty_tables_with_their_columns() -> None:
    empty = pd.DataFrame(columns=["depth", "loss", "latent", "seed"])
    assert "is_best" in not_worse(empty, ["depth"], "q", 1, ["loss"])
    assert "seed_error" in errors(empty, ["depth"], ERRORS)
