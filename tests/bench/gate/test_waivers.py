import pytest

from bench.gate.waivers import FILE, Waiver, in_force, line

GOOD = "train_step.operators.aten.mul.Tensor: 12 -> 13  # a third term"


def test_a_line_names_metric_from_to_and_why() -> None:
    assert in_force("", f"# comment\n\n  {GOOD}\n") == [
        Waiver("train_step.operators.aten.mul.Tensor", 12, 13, "a third term")
    ]
    assert in_force("", "numerics.elbo: equal -> 1e-6 # reordered") == [
        Waiver("numerics.elbo", "equal", 1e-6, "reordered")
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "train_step.flops",
        "train_step.flops: 12",
        "train_step.flops: 12 -> 13",
        "train_step.flops: 12 -> 13  #",
        "train_step.flops: 12 -> 13  #  ",
        "train_step.flops 12 -> 13  # why",
        "train_step.flops: many -> 13  # why",
        "train_step.flops: 12 -> equal  # why",
        "train_step.flops: 12 -> nan  # why",
    ],
)
def test_a_bad_line_is_an_error_that_names_it(bad: str) -> None:
    with pytest.raises(ValueError, match=f"{FILE}, line 2: .*allowed: "):
        in_force("", f"{GOOD}\n{bad}\n")


def test_only_lines_that_the_base_has_not_are_in_force() -> None:
    new = "train_step.flops: 5 -> 6  # more"
    assert in_force(GOOD, f"{GOOD}\n{new}") == in_force("", new)
    assert in_force(GOOD, "") == []
    assert in_force("what once was accepted, in an older form", GOOD) == in_force("", GOOD)


def test_a_count_is_accepted_exactly_a_measure_up_to_its_limit() -> None:
    (count,) = in_force("", GOOD)
    assert count.accepts_count("train_step.operators.aten.mul.Tensor", 12, 13)
    assert not count.accepts_count("train_step.operators.aten.mul.Tensor", 12, 14)
    assert not count.accepts_count("train_step.operators.aten.mul.Tensor", 11, 13)
    assert not count.accepts_count("train_pack.operators.aten.mul.Tensor", 12, 13)
    (limit,) = in_force("", "numerics.elbo: equal -> 1e-6  # reordered")
    assert limit.accepts_up_to("numerics.elbo", "equal", 9e-7)
    assert not limit.accepts_up_to("numerics.elbo", "equal", 2e-6)
    assert not limit.accepts_up_to("numerics.iwae", "equal", 0.0)


def test_the_line_that_is_offered_is_a_waiver() -> None:
    (offered,) = in_force("", line("train_step.flops", 5, 6))
    assert offered.accepts_count("train_step.flops", 5, 6)


def test_the_projects_own_file_is_in_order() -> None:
    from pathlib import Path

    in_force("", (Path(__file__).parents[3] / FILE).read_text())
