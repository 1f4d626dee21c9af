"""What a study compares, computed once: main effects, interactions, contrasts cell by cell, and
differences against zero. Each question is one Holm family.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hvae.settings import SETTINGS
from hvae.statistics import holm
from report.data.factors import Factor, words
from report.data.metrics import COMMON, DIFFERENCES, OWN, SCOPES, Metric
from report.data.statistics import (
    FEWEST_SEEDS,
    SIGNIFICANCE,
    Estimate,
    Floats,
    estimate,
    groups,
)

LEVELS = next(known.name for known in SETTINGS.values() if known.key == "num_layers")
NOISE_FACTOR = 2.0  # a difference counts beyond this many times the noise that its seeds share


class Step(NamedTuple):
    """From one value of a factor to another."""

    factor: Factor
    start: Any
    end: Any

    def __str__(self) -> str:
        return self.factor.listed((self.start, self.end), " → ")


@dataclass(frozen=True)
class Contrast:
    """What a step changes in a metric; with two steps, how the first one's change differs along the
    second; with none, the metric against zero.

    `held` is what it stands at, `averaged` what it is the mean over. `detectable` is at Holm's
    level; `noise` is of the metric's Monte-Carlo, where all seeds share it; `test_set_error` is
    over test images, whose own differences are known where each run left its metric by image.
    """

    metric: Metric
    steps: tuple[Step, ...]
    held: tuple[tuple[Factor, Any], ...]
    averaged: tuple[Factor, ...]
    estimate: Estimate
    noise: float = 0.0
    test_set_error: float = math.nan
    holm_p: float = math.nan
    detectable: float = math.nan

    @property
    def place(self) -> str:
        """`BCE, depth 2`: what it holds fixed."""
        return words([factor for factor, _ in self.held], [value for _, value in self.held])

    @property
    def is_equal(self) -> bool:
        """Whether both sides of a step are the same on every seed."""
        return bool(self.steps) and self.estimate.mean == self.estimate.sd == 0

    @property
    def is_clear(self) -> bool:
        """Whether it may be stated with its direction."""
        is_found = self.estimate.n >= FEWEST_SEEDS and self.holm_p < SIGNIFICANCE
        return bool(is_found and abs(self.estimate.mean) > NOISE_FACTOR * self.noise)


Family = tuple[Contrast, ...]


@dataclass(frozen=True)
class Contrasts:
    """Everything compared: `effects` and `by_cell` by factor, `interactions` by two of them, what
    is against zero by metric. `differing`: the settings of `SCOPES` in which a step's sides differ.
    """

    differing: Mapping[Step, frozenset[str]]
    effects: Mapping[str, Family]
    interactions: Mapping[tuple[str, str], Family]
    by_cell: Mapping[str, Family]
    against_zero: Mapping[str, Family]

    def is_comparable(self, factor: Factor, metric: Metric) -> bool:
        """Whether a metric means the same for all values of a factor."""
        return all(self._alike(factor, metric).values())

    def like_first(self, factor: Factor, metric: Metric) -> tuple[Any, ...]:
        """The values of an unordered factor for which a metric means what it does for the first."""
        alike = self._alike(factor, metric)
        return tuple(v for v in factor.values if not factor.is_ordered and alike.get(v, True))

    def _alike(self, factor: Factor, metric: Metric) -> dict[Any, bool]:
        """Whether a metric means the same on both sides of a step, by where the step ends."""
        steps = [step for step in self.differing if step.factor == factor]
        return {s.end: self.differing[s].isdisjoint(metric.within) for s in steps}


ByImage = Mapping[str, Mapping[str, Floats]]  # metric -> key -> a value per test image [N]


def compare(
    runs: pd.DataFrame, expected: pd.DataFrame, factors: Sequence[Factor], by_image: ByImage
) -> Contrasts:
    """The contrasts of finished `runs`; `expected` are all runs of the study with the settings of
    `SCOPES`, from which is read what may be compared."""
    varying = [factor for factor in factors if len(factor.values) > 1]
    differing = {
        step: _differing(step, expected, varying)
        for factor in varying
        for step in (Step(factor, *pair) for pair in factor.pairs())
    }
    shown = [m for m in (*OWN, *COMMON, *DIFFERENCES) if m.is_shown(runs)]
    names = {name for m in shown for name in (m.name, m.noise) if name}
    values = {name: _values(runs, varying, name) for name in names}
    images = {name: _images(runs, varying, by_image.get(name, {})) for name in names}
    grid = _Grid(varying, values, images, Contrasts(differing, {}, {}, {}, {}))
    return Contrasts(
        differing,
        {f.name: grid.family([f]) for f in varying},
        {(a.name, b.name): grid.family([a, b]) for a, b in combinations(varying, 2)},
        {f.name: grid.family([f], is_averaged=False) for f in varying},
        {metric.name: grid.against_zero(metric) for metric in DIFFERENCES if metric in shown},
    )


def _differing(step: Step, expected: pd.DataFrame, factors: Sequence[Factor]) -> frozenset[str]:
    part = expected[expected[step.factor.name].isin([step.start, step.end])]
    others = [factor.name for factor in factors if factor != step.factor]
    counts = [held[[*SCOPES]].nunique() for _, held in groups(part, others)]
    return frozenset(name for name in SCOPES if any(count[name] > 1 for count in counts))


def _values(runs: pd.DataFrame, factors: Sequence[Factor], metric: str) -> Floats:
    """A metric by the value of each factor and by seed, NaN where it is absent: [..., seeds]."""
    columns = [*(factor.name for factor in factors), "seed"]
    assert not runs.duplicated(columns).any()  # never averaged: what the runs differ in is missing
    return _placed(runs, factors, runs[metric].to_numpy(float))


def _images(
    runs: pd.DataFrame, factors: Sequence[Factor], by_key: Mapping[str, Floats]
) -> Floats | None:
    """A metric by the value of each factor, by seed and by test image: [..., seeds, N]; none where
    runs have it of other images."""
    lengths = {len(values) for values in by_key.values()}
    if len(lengths) != 1:
        return None
    absent = np.full(lengths.pop(), math.nan)
    return _placed(runs, factors, np.stack([by_key.get(key, absent) for key in runs["key"]]))


def _placed(runs: pd.DataFrame, factors: Sequence[Factor], rows: Floats) -> Floats:
    """A row for each run, laid out by factors and seed, NaN where there is no run."""
    seeds = pd.Categorical(runs["seed"])
    sizes = [*(len(factor.values) for factor in factors), len(seeds.categories)]
    values = np.full([*sizes, *rows.shape[1:]], math.nan)
    place: tuple[Any, ...] = (*(runs[f.name].cat.codes for f in factors), seeds.codes)
    values[place] = rows
    return values


class _Grid(NamedTuple):
    """What varies, the finished runs' values of each metric, also by image where they are known,
    and what may be compared."""

    factors: Sequence[Factor]
    values: Mapping[str, Floats]
    images: Mapping[str, Floats | None]
    known: Contrasts

    def family(self, factors: Sequence[Factor], is_averaged: bool = True) -> Family:
        """All contrasts of a factor, or interactions of two: in the metrics that speak for them."""
        steps = [[s for s in self.known.differing if s.factor == factor] for factor in factors]
        found = [
            contrast
            for corner in product(*steps)
            for metric in self._metrics(corner)
            for contrast in self._contrasts(metric, corner, self._averaged(metric, is_averaged))
        ]
        return adjusted(found)

    def against_zero(self, metric: Metric) -> Family:
        """A metric that is a difference already: at each depth and value of a categorical factor,
        ordered ones averaged."""
        averaged = [f for f in self.factors if f.is_ordered and f.name != LEVELS]
        return adjusted(self._contrasts(metric, (), averaged))

    def _metrics(self, steps: Sequence[Step]) -> list[Metric]:
        """What speaks for a step: an own likelihood, with one common yardstick, where both sides
        have it; else all common ones. For two steps the first of these."""
        changed = frozenset().union(*(self.known.differing[step] for step in steps))
        own, common = (
            [m for m in given if m.name in self.values and changed.isdisjoint(m.within)]
            for given in (OWN, COMMON)
        )
        speaking = own[:1] + common[:1] if own else common
        return speaking if len(steps) == 1 else speaking[:1]

    def _averaged(self, metric: Metric, is_averaged: bool) -> list[Factor]:
        return [f for f in self.factors if is_averaged and self.known.is_comparable(f, metric)]

    def _contrasts(
        self, metric: Metric, steps: Sequence[Step], averaged: Sequence[Factor]
    ) -> Iterable[Contrast]:
        """One for each combination of what is neither stepped along nor averaged."""
        along = [step.factor for step in steps]
        over = [f for f in averaged if f not in along]
        held = [f for f in self.factors if f not in along and f not in over]
        means = self._means(self.values[metric.name], along, held, over)
        noise = self._means(self.values[metric.noise], along, held, over) if metric.noise else None
        images = self.images[metric.name]
        by_image = None if images is None else self._means(images, along, held, over)
        corners = list(product(*((f.values.index(a), f.values.index(b)) for f, a, b in steps)))
        signs = [math.prod(signs) for signs in product(*[(-1, 1)] * len(steps))]
        for place in np.ndindex(means.shape[len(steps) : -1]):
            sides = np.array([means[*corner, *place] for corner in corners])
            if not np.isnan(sides).all():
                yield Contrast(
                    metric,
                    tuple(steps),
                    tuple((f, f.values[i]) for f, i in zip(held, place, strict=True)),
                    tuple(over),
                    estimate(sides, signs),
                    0.0 if noise is None else _present_mean(noise[place]),
                    math.nan
                    if by_image is None
                    else test_set_error([by_image[*corner, *place] for corner in corners], signs),
                )

    def _means(
        self, values: Floats, along: list[Factor], held: list[Factor], over: list[Factor]
    ) -> Floats:
        """Values by what is stepped along, held, and by seed; the rest averaged within a seed, on
        the seeds that have all of it."""
        order = [self.factors.index(factor) for factor in (*along, *held, *over)]
        values = values.transpose(*order, *range(len(order), values.ndim))
        return np.asarray(values.mean(tuple(range(len(along) + len(held), len(order)))))


def _present_mean(values: Floats) -> float:
    """The mean over the seeds that have a value; 0 where none has."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else 0.0


def test_set_error(sides: Sequence[Floats], signs: Sequence[int]) -> float:
    """Standard error over test images of a sum of sides [seeds, N], the mean over whole seeds."""
    differences = np.tensordot(signs, np.stack(sides), 1)
    whole = differences[~np.isnan(differences).any(1)]
    return float(whole.mean(0).std(ddof=1) / math.sqrt(whole.shape[1])) if len(whole) else math.nan


def adjusted(contrasts: Iterable[Contrast]) -> Family:
    """One family: its p adjusted, its detectable effects at the level of Holm's first step."""
    family = list(contrasts)
    adjusted = holm(contrast.estimate.p for contrast in family)
    tests = sum(not math.isnan(p) for p in adjusted)
    return tuple(
        dataclasses.replace(c, holm_p=p, detectable=c.estimate.detectable(max(tests, 1)))
        for c, p in zip(family, adjusted, strict=True)
    )
