"""What tells the cells of a study apart, by its metadata: axes by their settings, and the variants.

No axis is named here or in what is drawn from it: another one needs no line of this package.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hvae.settings import SETTINGS, describe, setting, value
from report.data.design import Design

VARIANT = "variant"
# What names the only cell of a study that varies nothing: the settings that have a short name.
USUAL = [name for name, known in SETTINGS.items() if known.is_axis and "." not in name]


@dataclass(frozen=True)
class Factor:
    """An axis or the variants: a column of every frame, its values in the order of a reader.

    `heading` names it with its unit; `is_log` asks for a logarithmic scale.
    """

    name: str
    label: str
    heading: str
    values: tuple[Any, ...]
    is_ordered: bool = False
    is_log: bool = False

    def describe(self, value: Any) -> str:
        """`depth 2`, `BCE`; what is no setting, as it is."""
        return describe(self.name, value) if self.name in SETTINGS else str(value)

    def text(self, value: Any) -> str:
        """`2`, `BCE`: where the factor is named beside it."""
        described = self.describe(value)
        is_setting = self.name in SETTINGS
        return described.removeprefix(f"{self.label} ") if is_setting else described

    def listed(self, values: Iterable[Any], between: str = ", ") -> str:
        """`depth 1, 2, 3`: the factor is named once."""
        first, *others = values
        return between.join([self.describe(first), *map(self.text, others)])

    def pairs(self) -> list[tuple[Any, Any]]:
        """What is compared: neighbours where values are ordered, else each with the first."""
        if self.is_ordered:
            return list(pairwise(self.values))
        return [(self.values[0], other) for other in self.values[1:]]


def words(factors: Iterable[Factor], values: Iterable[Any]) -> str:
    """`BCE, latent size 20`: a value of each factor."""
    return ", ".join(f.describe(value) for f, value in zip(factors, values, strict=True))


def listed(parts: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def factors_of(design: Design) -> tuple[Factor, ...]:
    """The axes that take more than one value, then the variants; where nothing varies, what
    usually names a run, at its one value."""
    known = [_axis(design, name) for name in design.axes]
    known.append(Factor(VARIANT, VARIANT, VARIANT, tuple(dict.fromkeys(design.variant_of))))
    varying = tuple(factor for factor in known if len(factor.values) > 1)
    return varying or tuple(_axis(design, name) for name in USUAL)


def _axis(design: Design, name: str) -> Factor:
    known = setting(name)
    values = list(dict.fromkeys(value(run, known.name) for run in design.runs))
    order = tuple(sorted(values) if known.is_ordered else values)
    return Factor(known.name, known.label, known.heading, order, known.is_ordered, known.is_log)
