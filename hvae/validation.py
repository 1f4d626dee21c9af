"""Checks of what a user gave: a `ValueError` names the field, the value and what is allowed."""

import sys
from typing import Any


def require_known(what: str, given: Any, allowed: Any) -> None:
    """Raise `ValueError` naming the first of `given` that is not among `allowed`."""
    for name in given:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(sorted(allowed))}")


LARGEST = 2**53  # of an integer: exact in any JSON, and products of a few of them are numbers


def require_integer(name: str, value: Any, minimum: int) -> None:
    """Raise `ValueError` unless `value` is an integer (no bool) from `minimum` to `LARGEST`."""
    if isinstance(value, int) and value > LARGEST:
        raise ValueError(f"{name}: it is too large; allowed: integers from {minimum} to {LARGEST}")
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: integers ≥ {minimum}")


def require_integers(name: str, value: Any, minimum: int) -> tuple[int, ...]:
    """A list of integers as a tuple. Raises `ValueError` unless it is one, each at least
    `minimum`."""
    is_list = isinstance(value, list | tuple)
    if is_list and any(type(one) is int and one > LARGEST for one in value):
        raise ValueError(f"{name}: it is too large; allowed: integers from {minimum} to {LARGEST}")
    is_fit = is_list and all(type(one) is int and one >= minimum for one in value)
    if not is_fit:
        raise ValueError(
            f"{name}: {value!r} is not allowed; allowed: lists of integers ≥ {minimum}"
        )
    return tuple(value)


def require_number(name: str, value: Any, positive: bool) -> float:
    """A number as a float. Raises `ValueError` unless it is finite and > 0 (`positive`) or ≥ 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_finite = is_number and abs(value) <= sys.float_info.max  # also of integers beyond floats
    if not is_finite or value < 0 or (positive and value == 0):
        bound = "> 0" if positive else "≥ 0"
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: finite numbers {bound}")
    return float(value) + 0.0  # 1 and 1.0, 0.0 and -0.0: one digest


def require_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: {', '.join(allowed)}")


def require_neutral(name: str, value: Any, neutral: Any, where: str) -> None:
    """Raise `ValueError` unless `value` is the one that says nothing, where no other would act."""
    if value != neutral:
        raise ValueError(f"{name}: {value!r} has no meaning {where}; allowed: {neutral!r}")
