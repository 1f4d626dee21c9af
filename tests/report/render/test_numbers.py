"""Numbers as a reader sees them."""

import math

import pytest

from report.render.numbers import aligned, at_most, counted, p_text, rounded, shown, two_digits


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (-101.2345, 0.4567, "−101.23 ± 0.46"),
        (0.024391, 0.000321, "0.02439 ± 0.00032"),
        (59_929.58, 1_874.0, "59,900 ± 1,900"),
        (-18.1, math.nan, "−18.10"),
        (13_668.0, math.nan, "13,668"),
        (1.5, 0.0, "1.500 ± 0"),
        (0.3 + 4e-17, 4e-16, "0.3000 ± 0"),  # rounding error is no spread
        (0.0, math.nan, "0.000"),
        (math.nan, math.nan, "–"),
    ],
)
def test_digits_follow_the_interval(mean: float, half: float, text: str) -> None:
    assert shown(mean, half) == text


def test_a_zero_has_no_sign() -> None:
    assert (rounded(-0.003, 2), rounded(-0.006, 2)) == ("0.00", "−0.01")


def test_a_small_p_is_a_bound_and_a_missing_one_a_dash() -> None:
    assert [p_text(p) for p in (0.0004, 0.0123, math.nan)] == ["< 0.001", "= 0.012", "= –"]


def test_a_p_below_the_level_never_reads_as_the_level() -> None:
    assert [p_text(p) for p in (0.0494, 0.0496, 0.05)] == ["= 0.049", "< 0.05", "= 0.05"]


def test_a_bound_is_never_rounded_down() -> None:
    values = (0.91331, 0.061436, 26.485, 0.05, 12.0, 0.0)
    assert [at_most(value) for value in values] == ["0.92", "0.062", "27", "0.050", "12", "0"]


def test_one_of_a_thing_is_no_plural() -> None:
    assert [counted(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]


def test_an_error_has_two_digits() -> None:
    assert [two_digits(value) for value in (0.0689, 12.34, 0.0)] == ["0.069", "12", "0"]


def test_a_column_has_the_decimals_of_its_median_interval_and_no_width_rounds_to_none() -> None:
    means, halves = [1.2345, 100.0, math.nan, 7.0, 3.0], [0.123, 0.5, math.nan, 0.0002, math.nan]
    assert aligned(means, halves) == ["1.23 ± 0.12", "100.00 ± 0.50", "–", "7.00 ± 0.01", "3.00"]
    assert aligned([2.0, 3.0, 0.0], [0.1, 0.0, 0.0]) == [
        "2.00 ± 0.10",
        "3.00 ± 0.00",
        "0.00 ± 0.00",
    ]
    assert aligned([1234.5, 0.1], [math.nan, math.nan]) == ["1,234", "0.1000"]
