"""What two sides' numbers come to, tier by tier."""

import math
from typing import Any

import pytest

from bench.gate.statistics import FAIL, INCONCLUSIVE, PASS
from bench.gate.tiers import (
    NOTE,
    WAIVED,
    Tier,
    compare_counts,
    compare_numerics,
    compare_times,
    relative_difference,
)
from bench.gate.waivers import in_force

COUNTS = {"flops": 100, "python_calls": 7, "operators.mul": 3}
NUMBERS = {"values": {"loss": 1.5, "kl": 0.25}, "parameters_sha256": "a"}


def counts(**changes: int) -> dict[str, dict[str, int]]:
    return {"train_step": COUNTS | changes}


def numerics(sha: str = "a", **changes: float) -> dict[str, Any]:
    return {"elbo": {"values": NUMBERS["values"] | changes, "parameters_sha256": sha}}


def texts(tier: Tier, status: str) -> list[str]:
    return [finding.text for finding in tier.findings if finding.status == status]


def test_equal_counts_pass_without_a_word() -> None:
    found = compare_counts(counts(), counts(), [])
    assert (found.status, found.findings) == (PASS, [])


@pytest.mark.parametrize("metric", ["flops", "operators.mul", "operators.new"])
def test_any_increase_fails_and_offers_its_waiver(metric: str) -> None:
    after = COUNTS.get(metric, 0) + 1
    found = compare_counts(counts(), counts(**{metric: after}), [])
    assert found.status == FAIL
    (finding,) = found.findings
    assert finding.text.startswith(f"train_step.{metric}: ")
    accepted = compare_counts(counts(), counts(**{metric: after}), in_force("", finding.waiver))
    assert accepted.status == PASS
    assert len(texts(accepted, WAIVED)) == 1
    assert (
        compare_counts(counts(), counts(**{metric: after + 1}), in_force("", finding.waiver)).status
        == FAIL
    )


def test_a_decrease_and_an_advisory_count_are_notes() -> None:
    fewer = compare_counts(counts(), counts(**{"flops": 99, "python_calls": 9}), [])
    assert fewer.status == PASS
    assert texts(fewer, NOTE) == [
        "train_step.flops: 100 -> 99",
        "train_step.python_calls: 7 -> 9 (advisory)",
    ]
    gone = {"train_step": {"flops": 100, "python_calls": 7}}
    assert compare_counts(counts(), gone, []).status == PASS  # an operator no longer called


@pytest.mark.parametrize(
    ("base", "head", "complaint"),
    [
        ({}, {"flops": 1}, "missing in base"),
        ({"flops": 1}, {}, "missing in head"),
    ],
)
def test_a_missing_metric_fails(base: dict[str, int], head: dict[str, int], complaint: str) -> None:
    found = compare_counts({"train_step": base}, {"train_step": head}, [])
    assert found.status == FAIL
    assert complaint in found.findings[0].text


def test_a_missing_a_renamed_and_no_benchmark_fail() -> None:
    missing = compare_counts(counts() | {"inference": COUNTS}, counts(), [])
    assert texts(missing, FAIL) == ["inference.benchmarks: 1 -> 0"]
    accepted = in_force("", "inference.benchmarks: 1 -> 0  # replaced by evaluation")
    assert compare_counts(counts() | {"inference": COUNTS}, counts(), accepted).status == PASS
    renamed = compare_counts(counts(), {"train": COUNTS}, [])
    assert texts(renamed, FAIL) == ["train_step.benchmarks: 1 -> 0", "train is missing in base"]
    assert compare_counts({}, {}, []).status == FAIL
    assert compare_numerics({}, {}, []).status == FAIL


def test_bitwise_equal_numerics_pass() -> None:
    found = compare_numerics(numerics(), numerics(), [])
    assert (found.status, found.findings) == (PASS, [])
    assert found.summary == "1 of 1 trainings bitwise equal"


def test_the_largest_relative_difference_is_named_and_blocks_until_waived() -> None:
    head = numerics("b", loss=1.5 * (1 + 1e-6), kl=0.25 * (1 + 1e-9))
    found = compare_numerics(numerics(), head, [])
    assert found.status == FAIL
    (finding,) = found.findings
    assert "largest relative difference 1.0e-06 (loss: 1.5 -> 1.5000015)" in finding.text
    assert found.summary == "0 of 1 trainings bitwise equal"
    assert compare_numerics(numerics(), head, in_force("", finding.waiver)).status == PASS
    larger = numerics("b", loss=1.5 * (1 + 3e-6))
    assert compare_numerics(numerics(), larger, in_force("", finding.waiver)).status == FAIL


def test_a_number_that_is_gone_on_purpose_has_its_waiver() -> None:
    head = numerics()
    del head["elbo"]["values"]["kl"]
    (finding,) = compare_numerics(numerics(), head, []).findings
    assert finding.status == FAIL
    assert "kl is missing in head (1 in all)" in finding.text
    accepted = in_force("", finding.waiver)
    assert compare_numerics(numerics(), head, accepted).status == PASS
    del head["elbo"]["values"]["loss"]
    assert compare_numerics(numerics(), head, accepted).status == FAIL


def test_final_parameters_that_differ_in_their_last_bits_only_are_seen() -> None:
    found = compare_numerics(numerics("a"), numerics("b"), [])
    assert found.status == FAIL
    assert "in final parameters" in found.findings[0].text
    assert (
        compare_numerics(
            numerics("a"), numerics("b"), in_force("", found.findings[0].waiver)
        ).status
        == PASS
    )


def test_a_metric_may_be_added_but_not_lost() -> None:
    more = numerics(nll=2.0)
    assert compare_numerics(numerics(), more, []).status == PASS
    assert compare_numerics(more, numerics(), []).status == FAIL


def test_a_loss_that_became_nan_is_infinitely_different() -> None:
    found = compare_numerics(numerics(), numerics(loss=math.nan), [])
    assert found.status == FAIL
    assert "largest relative difference inf" in found.findings[0].text
    assert relative_difference(math.nan, math.nan) == 0.0
    assert relative_difference(math.inf, math.inf) == 0.0
    assert relative_difference(-1.0, 1.0) == 2.0


def series(
    busy: list[float], wall: list[float] | None = None
) -> dict[tuple[str, str], list[float]]:
    return {("train_step", "busy"): busy, ("train_step", "wall"): wall or busy}


def test_times_pass_fail_and_are_inconclusive() -> None:
    assert compare_times(series([0.0] * 6), []).status == PASS
    slower = compare_times(series([math.log(1.05)] * 20), [])
    assert slower.status == FAIL
    (text,) = texts(slower, FAIL)
    assert text == "train_step: processor time +5.0% (error 0.0%, p 1e-06, 20 pairs)"
    scattered = [(-1) ** i * 0.01 * i for i in range(20)]
    assert compare_times(series(scattered), []).status == INCONCLUSIVE


def test_a_waiver_accepts_a_slowdown_up_to_its_limit() -> None:
    slower = series([math.log(1.05)] * 20)
    offered = [f.waiver for f in compare_times(slower, []).findings if f.waiver]
    assert offered == ["train_step.busy: 1 -> 1.07  # why"]
    assert compare_times(slower, in_force("", offered[0])).status == PASS
    worse = series([math.log(1.09)] * 20)
    assert compare_times(worse, in_force("", offered[0])).status == FAIL


def test_a_waiver_accepts_the_same_slowdown_where_it_is_less_certain() -> None:
    values = [math.log(1.06)] * 13 + [-0.01] * 7
    unclear = series(values)
    assert compare_times(unclear, []).status == INCONCLUSIVE
    accepted = in_force("", "train_step.busy: 1 -> 1.07  # a table that pays later")
    waived, *_ = compare_times(unclear, accepted).findings
    assert waived.status == WAIVED
