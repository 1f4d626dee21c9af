"""The rule on paired times: its false alarms and its power by simulation, its edges by hand."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from bench.gate.side.harness import BENCHMARKS
from bench.gate.statistics import (
    ALPHA,
    CLOCKS,
    FAIL,
    FULL_PAIRS,
    INCONCLUSIVE,
    PASS,
    SCREEN_PAIRS,
    judge,
    needs_more,
    robust_error,
    signed_rank_p,
)

SPREAD = 0.016  # of a pair's ratio, on the machine of the design
KEYS = [(benchmark, clock.name) for benchmark in BENCHMARKS for clock in CLOCKS]
BUSY = ("train_step", "busy")


@cache
def p_of(positive: int, pairs: int) -> float:
    """The p of any `pairs` values whose positive ones have that sum of ranks, no two of a size."""
    values, left = [], positive
    for rank in range(pairs, 0, -1):
        values.append(rank if rank <= left else -rank)
        left -= max(values[-1], 0)
    return signed_rank_p(values)


def looked_up(values: Sequence[float]) -> float:
    """`signed_rank_p`, which takes a millisecond, of values no two of which are of a size."""
    ordered = np.asarray(values)[np.argsort(np.abs(values))]
    return p_of(int((np.flatnonzero(ordered > 0) + 1).sum()), len(ordered))


def test_p_depends_on_the_ranks_alone() -> None:
    random = np.random.default_rng(2)
    for pairs in (SCREEN_PAIRS, FULL_PAIRS):
        values = random.standard_normal(pairs) + 0.3
        assert looked_up(values) == signed_rank_p(values)


def verdict(series: dict[tuple[str, str], np.ndarray]) -> str:
    """As the gate does it: the screen first, all pairs only for what it does not pass."""
    first = {key: values[:SCREEN_PAIRS] for key, values in series.items()}
    doubtful = needs_more(first)
    measured = {key: series[key] if key[0] in doubtful else first[key] for key in series}
    found = {judgement.status for judgement in judge(measured).values()}
    return next((status for status in (FAIL, INCONCLUSIVE) if status in found), PASS)


def simulate(trials: int, slowdown: float, spread: float, tails: str = "normal") -> list[str]:
    """Verdicts where the first benchmark is so much slower and pairs scatter so much."""
    random = np.random.default_rng(7)
    shape = (trials, len(KEYS), FULL_PAIRS)
    noise = random.standard_normal(shape) if tails == "normal" else random.standard_t(2, shape)
    values = spread * noise
    values[:, :2] += math.log1p(slowdown)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.gate.statistics.signed_rank_p", looked_up)
        return [verdict(dict(zip(KEYS, trial, strict=True))) for trial in values]


@pytest.mark.parametrize(
    ("spread", "tails"), [(SPREAD, "normal"), (SPREAD, "heavy"), (0.05, "normal"), (0.3, "heavy")]
)
def test_equal_sides_fail_at_most_once_in_a_thousand(spread: float, tails: str) -> None:
    alarms = simulate(400, 0.0, spread, tails).count(FAIL)
    # 0.4 expected at the most: 4 or more has probability 8e-4.
    assert alarms < 4


def test_the_test_itself_keeps_its_level_without_the_screen() -> None:
    random = np.random.default_rng(1)
    ps = [looked_up(random.standard_normal(FULL_PAIRS)) for _ in range(2000)]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.015)  # 3 standard errors


def test_at_the_usual_spread_an_unchanged_commit_nearly_always_passes() -> None:
    assert simulate(300, 0.0, SPREAD).count(PASS) >= 295


@pytest.mark.parametrize(("slowdown", "power"), [(0.05, 0.97), (0.10, 0.99)])
def test_a_slowdown_is_caught(slowdown: float, power: float) -> None:
    trials = 300
    assert simulate(trials, slowdown, SPREAD).count(FAIL) >= power * trials


def test_where_pairs_scatter_too_much_the_verdict_is_inconclusive() -> None:
    verdicts = simulate(200, 0.0, 0.3)
    assert verdicts.count(PASS) == 0
    assert verdicts.count(INCONCLUSIVE) >= 198


def constant(percent: float, pairs: int = FULL_PAIRS) -> list[float]:
    return [math.log1p(percent / 100)] * pairs


@pytest.mark.parametrize(
    ("clock", "percent", "status"),
    [
        ("busy", 0.0, PASS),
        ("busy", 2.4, PASS),  # significant, but too small to count
        ("busy", 2.6, FAIL),
        ("busy", -20.0, PASS),
        ("wall", 9.9, PASS),
        ("wall", 10.1, FAIL),
    ],
)
def test_size_decides_where_nothing_scatters(clock: str, percent: float, status: str) -> None:
    found = judge({("train_step", clock): constant(percent)})["train_step", clock]
    assert found.status == status
    assert found.slowdown == pytest.approx(percent / 100)


def test_size_without_significance_is_neither_a_failure_nor_a_pass() -> None:
    values = [*constant(3, 14), *constant(-3, 6)]  # median +3 %, six of twenty the other way
    found = judge({BUSY: values})[BUSY]
    assert found.p is not None
    assert found.p > ALPHA
    assert found.status == INCONCLUSIVE


def test_the_screen_passes_on_two_grounds_only_and_never_on_scatter() -> None:
    few_positive = [*constant(2, 4), *constant(-0.5, 2)]
    assert needs_more({BUSY: few_positive}) == []
    assert needs_more({BUSY: [*constant(3, 4), *constant(-0.5, 2)]}) == ["train_step"]
    assert needs_more({BUSY: constant(3, 6)}) == ["train_step"]
    assert needs_more({BUSY: constant(1.4, 6)}) == []
    assert needs_more({BUSY: [0.2, -0.2, 0.1, -0.1, 0.15, -0.15]}) == ["train_step"]


def test_pairs_that_the_other_clock_asked_for_count() -> None:
    first = constant(0, SCREEN_PAIRS)
    assert judge({BUSY: first})[BUSY][::3] == (PASS, None)
    later = judge({BUSY: [*first, *constant(50, 14)]})[BUSY]
    assert (later.status, later.p) == (FAIL, pytest.approx(2**-14))


def test_pairs_that_were_not_measured_cannot_pass() -> None:
    assert judge({BUSY: constant(3, 6)})[BUSY].status == INCONCLUSIVE
    assert judge({BUSY: constant(3, 10)})[BUSY].status != PASS
    with pytest.raises(ValueError, match="train_step: 5 pairs on the busy clock; allowed: 6"):
        judge({BUSY: constant(0, 5)})


def test_many_benchmarks_share_the_level_step_by_step() -> None:
    # The six that moved least went the other way; the first ones keep it from the screen.
    moved = [math.log1p(0.05 - 0.001 * i) for i in range(FULL_PAIRS)]
    unclear = [*moved[:-6], *(-value for value in moved[-6:])]
    assert ALPHA / 3 < signed_rank_p(unclear) < ALPHA / 2

    def statuses(*values: list[float]) -> list[str]:
        found = judge({(str(i), "busy"): series for i, series in enumerate(values)})
        return [judgement.status for judgement in found.values()]

    assert statuses(unclear) == [FAIL]
    assert statuses(unclear, constant(0), constant(0)) == [INCONCLUSIVE, PASS, PASS]
    assert statuses(unclear, constant(5), unclear) == [FAIL, FAIL, FAIL]


def test_the_signed_rank_p_is_exact() -> None:
    assert signed_rank_p([1, 2, 3, 4, 5, 6]) == 1 / 64
    assert signed_rank_p([-1, 2, 3, 4, 5, 6]) == 2 / 64
    assert signed_rank_p([0.0] * 20) == 1.0
    assert signed_rank_p([0.0, 1.0]) == 1 / 2


def test_the_robust_error_is_that_of_a_median_and_ignores_an_outlier() -> None:
    random = np.random.default_rng(3)
    medians = [np.median(random.standard_normal(20)) for _ in range(4000)]
    errors = [robust_error(random.standard_normal(20)) for _ in range(1000)]
    assert np.median(errors) == pytest.approx(np.std(medians), rel=0.1)
    assert robust_error([0, 1, 2, 3, 4]) == robust_error([0, 1, 2, 3, 1000])
