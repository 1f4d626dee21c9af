"""Statistics over paired seeds: DataFrame → numbers or DataFrame, no state.

A run is a row; `seed` pairs the runs of different cells, which share data order and noise. All
intervals are 95 % Student t. Every table has its columns even where there are no rows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special  # not `stats`, which takes a second to import

from hvae.statistics import holm

CONFIDENCE = 0.95
SIGNIFICANCE = 1 - CONFIDENCE
POWER = 0.8
Floats = npt.NDArray[np.float64]
FEWEST_SEEDS = 3  # below, nothing is called a finding and nothing is bold


class Estimate(NamedTuple):
    """A mean over seeds of `n` differences, their standard deviation, the p of no difference, and
    over seeds the correlation of the two numbers that are subtracted."""

    n: int
    mean: float
    sd: float
    p: float
    correlation: float

    @property
    def half_width(self) -> float:
        """Half of the 95 % t interval; NaN for n < 2."""
        return float(half_width(self.n, self.sd)) if self.n > 1 else math.nan

    @property
    def margin(self) -> float:
        """The least margin within which two one-sided t tests at 0.05 find equivalence."""
        if self.n < 2:
            return math.nan
        quantile = float(special.stdtrit(self.n - 1, CONFIDENCE))
        return abs(self.mean) + quantile * self.sd / math.sqrt(self.n)

    def detectable(self, tests: int = 1) -> float:
        """The true mean that is found with power 0.8 at 0.05, divided by the `tests` of a family
        as Holm's first step divides it; exact, by the noncentral t; NaN for n < 2."""
        if self.n < 2:
            return math.nan
        return _detectable_noncentrality(self.n, tests) * self.sd / math.sqrt(self.n)


def summary(runs: pd.DataFrame, cell: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """n, mean, sd and 95 % t interval per cell and metric; runs without the metric are left out."""
    present = [name for name in metrics if name in runs]
    long = runs.melt([*cell], present, "metric", "value").dropna(subset="value")
    long["value"] = long["value"].astype(float)
    groups = long.groupby([*cell, "metric"], sort=False, observed=True)["value"]
    table = groups.agg(n="count", mean="mean", sd="std").reset_index()
    half = half_width(table["n"].to_numpy(float), table["sd"].to_numpy(float))
    return table.assign(half_width=half, lower=table["mean"] - half, upper=table["mean"] + half)


def half_width(n: Any, sd: Any) -> Any:
    """Half of the 95 % t interval of a mean of `n` values; NaN for n < 2."""
    freedom = np.where(np.asarray(n) > 1, np.asarray(n) - 1, np.nan)
    return special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * sd / np.sqrt(n)


def estimate(sides: Floats, signs: Sequence[int]) -> Estimate:
    """The sum of the sides, each with its sign, paired by seed; a seed that lacks one is left out.

    `sides` is [sides, seeds]; the correlation is that of two sides that both vary.
    """
    whole = sides[:, ~np.isnan(sides).any(0)]
    is_pair = len(sides) == 2 and whole.shape[1] >= FEWEST_SEEDS and bool((whole.std(1) > 0).all())
    correlation = float(np.corrcoef(*whole)[0, 1]) if is_pair else math.nan
    return paired(np.array(signs) @ whole)._replace(correlation=correlation)


def paired(differences: Any) -> Estimate:
    """The estimate from one difference per seed; NaN are left out."""
    values = np.asarray(differences, float)
    values = values[~np.isnan(values)]
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    sd = float(values.std(ddof=1)) if n > 1 else math.nan
    return Estimate(n, mean, sd, _p_value(n, mean, sd), math.nan)


def sign_p(agreeing: int, n: int) -> float:
    """The p of a coin that makes so many of n agree, or more: the exact two-sided sign test of the
    larger side."""
    return min(1.0, 2 * float(special.bdtr(n - agreeing, n, 0.5)))


def _p_value(n: int, mean: float, sd: float) -> float:
    if n < 2:
        return math.nan
    if sd == 0:
        return float(mean == 0)
    return float(2 * special.stdtr(n - 1, -abs(mean) / sd * math.sqrt(n)))


@cache
def _detectable_noncentrality(n: int, tests: int) -> float:
    critical = special.stdtrit(n - 1, 1 - SIGNIFICANCE / 2 / tests)
    # Rejection on the wrong side, which this leaves out, has a probability below 1e-6.
    return float(special.nctdtrinc(n - 1, 1 - POWER, critical))


def not_worse(
    runs: pd.DataFrame, cell: Sequence[str], metric: str, direction: int, within: Sequence[str]
) -> pd.DataFrame:
    """Per cell: `is_best`, not distinguishable from the best of its group (Holm p ≥ 0.05).

    The best is the best mean among cells of at least three runs; smaller ones are never marked.
    """
    marks = [pd.DataFrame(columns=[*cell, "metric", "is_best"])]
    known = runs.dropna(subset=metric) if metric in runs else runs.iloc[:0]
    for _, group in groups(known, within):
        by_seed = group.pivot(index=[*cell], columns="seed", values=metric).astype(float)
        enough = by_seed[by_seed.notna().sum(axis=1) >= FEWEST_SEEDS]
        if enough.empty:
            continue
        best = int((direction * enough.mean(axis=1)).to_numpy().argmax())
        tests = [paired(differences) for differences in (enough - enough.iloc[best]).to_numpy()]
        adjusted = holm(math.nan if row == best else t.p for row, t in enumerate(tests))
        is_best = [
            test.n >= FEWEST_SEEDS and not p < SIGNIFICANCE
            for test, p in zip(tests, adjusted, strict=True)
        ]
        marks.append(enough.index.to_frame(index=False).assign(metric=metric, is_best=is_best))
    return pd.concat(marks[1:] or marks)


def errors(
    runs: pd.DataFrame, cell: Sequence[str], kinds: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """The three standard errors of a cell's mean, apart; `kinds` names for each metric those that
    hold its Monte-Carlo and its test-set error in a run.

    `seed_error` shrinks with seeds, `monte_carlo_error` with samples and `test_set_error` with test
    images: all runs share both. Of the Monte-Carlo error that is at most so, and is given as that
    of one run: equal draws mean something else to each model, and that part is in `seed_error`.
    """
    tables = []
    for metric, (noise, images) in kinds.items():
        known = runs.reindex(columns=[*cell, metric, noise, images]).dropna(subset=metric)
        squared = known.assign(**{noise: known[noise].astype(float) ** 2})
        table = squared.groupby([*cell], observed=True, as_index=False).agg(
            n=(metric, "count"),
            seed_error=(metric, "sem"),
            monte_carlo_error=(noise, "mean"),
            test_set_error=(images, "mean"),
        )
        table["monte_carlo_error"] = np.sqrt(table["monte_carlo_error"])
        tables.append(table.assign(metric=metric))
    columns = [*cell, "metric", "n", "seed_error", "monte_carlo_error", "test_set_error"]
    return pd.concat(tables) if tables else pd.DataFrame(columns=columns)


def groups(
    runs: pd.DataFrame, columns: Sequence[str]
) -> Iterable[tuple[dict[str, Any], pd.DataFrame]]:
    """(column -> value, rows) for each combination that occurs, in order."""
    if not columns:
        yield {}, runs
        return
    for values, group in runs.groupby([*columns], observed=True):
        yield dict(zip(columns, values, strict=True)), group
