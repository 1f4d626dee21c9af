"""Statistics over paired seeds: DataFrame → DataFrame, no state.

A run is a row; `seed` pairs the runs of different cells, which share data order and noise. All
intervals are 95 % Student t. Every function returns its columns even where there are no rows.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from hvae.statistics import holm

CONFIDENCE = 0.95
POWER = 0.8
FEWEST_SEEDS = 3  # below, nothing is called a finding and nothing is bold
ERRORS = {  # metric -> its Monte-Carlo and its test-set error in a run
    "elbo_nats": ("elbo_standard_error_nats", "elbo_test_set_error_nats"),
    "nll_nats": ("nll_standard_error_nats", "nll_test_set_error_nats"),
    "scoreboard_nll_nats": (
        "scoreboard_standard_error_nats",
        "scoreboard_test_set_error_nats",
    ),
}
PAIRED = ("n", "difference", "half_width", "lower", "upper", "p", "detectable")


def summary(runs: pd.DataFrame, cell: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """n, mean, sd and 95 % t interval per cell and metric; runs without the metric are left out."""
    present = [name for name in metrics if name in runs]
    long = runs.melt([*cell], present, "metric", "value").dropna(subset="value")
    long["value"] = long["value"].astype(float)
    groups = long.groupby([*cell, "metric"], sort=False, dropna=False)["value"]
    table = groups.agg(n="count", mean="mean", sd="std").reset_index()
    half = half_width(table["n"].to_numpy(float), table["sd"].to_numpy(float))
    return table.assign(half_width=half, lower=table["mean"] - half, upper=table["mean"] + half)


def half_width(n: Any, sd: Any) -> Any:
    """Half of the 95 % t interval of a mean of `n` values; NaN for n < 2."""
    freedom = np.where(np.asarray(n) > 1, np.asarray(n) - 1, np.nan)
    return stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * sd / np.sqrt(n)


def contrasts(
    runs: pd.DataFrame,
    factor: str,
    metric: str,
    within: Sequence[str],
    over: Sequence[str] = (),
) -> pd.DataFrame:
    """Paired differences between neighbouring levels of `factor`, for each cell of `within`.

    The axes `over` are averaged within a seed first, on the seeds that have all their cells:
    with `over` this is a main effect. The table is one Holm family.
    """
    rows = [
        {**fixed, "factor": factor, "from": low, "to": high, "metric": metric}
        | paired(_seed_differences(group, factor, low, high, metric, over))
        for fixed, group in _groups(_measured(runs, metric), within)
        for low, high in pairwise(_levels(group[factor]))
    ]
    return _with_holm(rows, [*within, "factor", "from", "to", "metric"])


def interactions(
    runs: pd.DataFrame,
    factors: tuple[str, str],
    metric: str,
    within: Sequence[str],
    over: Sequence[str] = (),
) -> pd.DataFrame:
    """How the step of the first factor changes along a step of the second, paired over seeds."""
    first, second = factors
    rows = []
    for fixed, group in _groups(_measured(runs, metric), within):
        for low, high in pairwise(_levels(group[first])):
            for start, end in pairwise(_levels(group[second])):
                at_end, at_start = (
                    _seed_differences(group[group[second] == level], first, low, high, metric, over)
                    for level in (end, start)
                )
                named = {
                    "factor": f"{first} x {second}",
                    "from": low,
                    "to": high,
                    "metric": metric,
                }
                step = {"by_from": start, "by_to": end}
                rows.append({**fixed, **named, **step, **paired(at_end - at_start)})
    return _with_holm(rows, [*within, "factor", "from", "to", "metric", "by_from", "by_to"])


def paired(differences: pd.Series) -> dict[str, Any]:
    """n, mean difference, its 95 % t interval, p and the minimum detectable effect."""
    values = differences.dropna().to_numpy(float)
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    sd = float(values.std(ddof=1)) if n > 1 else math.nan
    half = float(half_width(n, sd)) if n > 1 else math.nan
    return {
        "n": n,
        "difference": mean,
        "half_width": half,
        "lower": mean - half,
        "upper": mean + half,
        "p": _p_value(n, mean, sd),
        "detectable": minimum_detectable_effect(n, sd),
    }


def _p_value(n: int, mean: float, sd: float) -> float:
    if n < 2:
        return math.nan
    if sd == 0:
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / sd * math.sqrt(n), n - 1))


def minimum_detectable_effect(n: int, sd: float) -> float:
    """The mean paired difference found with power 0.8 by a two-sided t test at 0.05.

    `sd` is that of the differences; exact, by the noncentral t; NaN for n < 2.
    """
    return _detectable_noncentrality(n) * sd / math.sqrt(n) if n > 1 else math.nan


@cache
def _detectable_noncentrality(n: int) -> float:
    critical = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))

    def excess_power(noncentrality: float) -> float:
        # Rejection on the wrong side has probability < 1e-6 here, and scipy returns NaN for it.
        return float(stats.nct.sf(critical, n - 1, noncentrality)) - POWER

    bracket = 2 * critical + 2  # at least two standard errors beyond the critical value
    return float(optimize.brentq(excess_power, 0.1, bracket))


def not_worse(
    runs: pd.DataFrame,
    cell: Sequence[str],
    metric: str,
    direction: int,
    within: Sequence[str],
) -> pd.DataFrame:
    """Per cell: `is_best`, not distinguishable from the best of its group (Holm p ≥ 0.05).

    The best is the best mean among cells of at least three runs; smaller ones are never marked.
    """
    rows = []
    for _, group in _groups(_measured(runs, metric), within):
        cells = [(fixed, part.set_index("seed")[metric]) for fixed, part in _groups(group, cell)]
        enough = [(f, values) for f, values in cells if len(values) >= FEWEST_SEEDS]
        best = max(
            (values for _, values in enough),
            key=lambda v: direction * v.mean(),
            default=0,
        )
        tests = [paired(values - best) for _, values in enough]
        adjusted = holm(
            math.nan if values is best else test["p"]
            for (_, values), test in zip(enough, tests, strict=True)
        )
        rows += [
            {
                **fixed,
                "metric": metric,
                "is_best": test["n"] >= FEWEST_SEEDS and not p < 0.05,
            }
            for (fixed, _), test, p in zip(enough, tests, adjusted, strict=True)
        ]
    return pd.DataFrame(rows, columns=[*cell, "metric", "is_best"])


def errors(runs: pd.DataFrame, cell: Sequence[str]) -> pd.DataFrame:
    """The three standard errors of a cell's mean, apart.

    `seed_error` shrinks with seeds (it contains the Monte-Carlo error), `monte_carlo_error` with
    samples and seeds, `test_set_error` only with test images: all runs share them.
    """
    rows = []
    for metric, (monte_carlo, test_set) in ERRORS.items():
        for fixed, group in _groups(_measured(runs, metric), cell):
            n = len(group)
            noise = _column(group, monte_carlo)
            rows.append(
                {
                    **fixed,
                    "metric": metric,
                    "n": n,
                    "seed_error": float(group[metric].std(ddof=1)) / math.sqrt(n),
                    "monte_carlo_error": math.sqrt((noise**2).mean() / n),
                    "test_set_error": float(_column(group, test_set).mean()),
                }
            )
    names = ["n", "seed_error", "monte_carlo_error", "test_set_error"]
    return pd.DataFrame(rows, columns=[*cell, "metric", *names])


def _column(group: pd.DataFrame, name: str) -> pd.Series:
    if name in group:
        return group[name].astype(float)
    return pd.Series(math.nan, index=group.index)


def _measured(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The runs that have the metric."""
    return runs.dropna(subset=metric) if metric in runs else runs.iloc[:0].assign(**{metric: 0.0})


def _seed_differences(
    group: pd.DataFrame,
    factor: str,
    low: Any,
    high: Any,
    metric: str,
    over: Sequence[str],
) -> pd.Series:
    """Per seed: mean over the cells of `over` at `high` minus at `low`; incomplete seeds go."""
    part = group[group[factor].isin([low, high])]
    others = part[[*over]].astype(str).agg("|".join, axis=1) if over else ""
    wide = part.assign(others=others).pivot(
        index="seed", columns=[factor, "others"], values=metric
    )  # pivot, not pivot_table: two records of one key must raise, never average
    names = sorted(set(part.assign(others=others)["others"]))
    sides = [wide.reindex(columns=[(level, name) for name in names]) for level in (low, high)]
    before, after = (side.mean(axis=1, skipna=False) for side in sides)
    return (after - before).dropna()


def _groups(
    runs: pd.DataFrame, columns: Sequence[str]
) -> Iterable[tuple[dict[str, Any], pd.DataFrame]]:
    """(column -> value, rows) for each combination that occurs, in sorted order."""
    if not columns:
        yield {}, runs
        return
    for values, group in runs.groupby([*columns], dropna=False):
        yield dict(zip(columns, values, strict=True)), group


def _levels(column: pd.Series) -> list[Any]:
    return sorted(column.unique().tolist())


def _with_holm(rows: list[dict[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[*names, *PAIRED])
    return table.assign(holm_p=holm(table["p"]))


def top_level_values(levels: pd.DataFrame, within: Sequence[str]) -> pd.DataFrame:
    """What the top level of each hierarchy of depth ≥ 2 buys, against 0, over seeds."""
    top = levels[(levels["level"] == levels["depth"]) & (levels["depth"] > 1)]
    return against_zero(top, "value_nats", [*within, "depth"])


def against_zero(runs: pd.DataFrame, metric: str, within: Sequence[str]) -> pd.DataFrame:
    """The mean of a metric that is a difference already, for each cell of `within`, over seeds.

    Latent sizes are averaged within a seed first, on the seeds that have all of them.
    """
    rows = []
    for fixed, group in _groups(_measured(runs, metric), within):
        wide = group.pivot(index="seed", columns="latent", values=metric).astype(float)
        rows.append({**fixed, "metric": metric, **paired(wide.mean(axis=1, skipna=False))})
    return _with_holm(rows, [*within, "metric"])
