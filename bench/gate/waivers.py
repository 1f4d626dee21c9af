"""Waivers: committed lines that accept one change for the worse each, with a reason.

train_step.operators.aten.mul.Tensor: 12 -> 13  # the third level needs it
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

FILE = "bench/waivers.txt"
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
LINE = re.compile(
    rf"(?P<metric>\S+): (?P<before>equal|{NUMBER}) -> (?P<after>{NUMBER}) +# (?P<why>\S.*)"
)
FORM = "`METRIC: FROM -> TO  # why`, FROM a number or `equal`, TO a number"


class Waiver(NamedTuple):
    """An accepted change; for numerics and times `after` is the largest one accepted."""

    metric: str
    before: float | str
    after: float
    why: str

    def accepts_count(self, metric: str, before: int, after: int) -> bool:
        return self.metric == metric and self.before == before and self.after == after

    def accepts_up_to(self, metric: str, before: float | str, after: float) -> bool:
        return self.metric == metric and self.before == before and after <= self.after


def in_force(base: str, head: str) -> list[Waiver]:
    """The waivers that HEAD adds to the base's file: older ones accepted older changes. Raises
    `ValueError` naming the first line that is none."""
    old = {line for _, line in _lines(base)}
    return [_waiver(number, line) for number, line in _lines(head) if line not in old]


def line(metric: str, before: float | str, after: float | str) -> str:
    """The line that would accept a change, its reason left to be written."""
    return f"{metric}: {before} -> {after}  # why"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, content in enumerate(text.splitlines(), 1):
        if (stripped := content.strip()) and not stripped.startswith("#"):
            yield number, stripped


def _waiver(number: int, content: str) -> Waiver:
    found = LINE.fullmatch(content)
    if found is None:
        raise ValueError(f"{FILE}, line {number}: {content!r} is no waiver; allowed: {FORM}")
    before = found["before"] if found["before"] == "equal" else float(found["before"])
    return Waiver(found["metric"], before, float(found["after"]), found["why"])
