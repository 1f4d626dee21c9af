"""One tidy frame of cells → HTML, LaTeX (booktabs), Markdown, CSV: the same text in all four.

`cells` computes and rounds once; `report.render.tables` only escapes. Digits follow the interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import pandas as pd

from report.data.factors import Factor
from report.data.frames import STATUSES, Study, count_alive
from report.data.metrics import ALIVE_NATS, HEADLINE, HEADLINE_TASKS, TASKS, Metric, rate_name
from report.data.statistics import groups, not_worse, summary
from report.render.numbers import aligned, shown
from report.render.tables import Entry, Table, table

OF_LEVELS = {  # column of `Study.levels` -> its heading
    "kl_nats": "KL (nats)",
    "gain_nats": "gain of levels t to T (nats)",
    "retrained_gap_nats": "retrained gap (nats)",
    "active_units": "active units",
    "active_units_scale_free": "active units, scale-free",
    "probe_accuracy": "probe accuracy",
}
LEVELS_NOTE = (
    "Level 1 is next to the pixels. 95 % t intervals over seeds. Alive: seeds in which the level "
    f"has a KL of at least {ALIVE_NATS} nats, and two standard errors more below the top, where it "
    "is sampled; a mean over both kinds describes neither. Gain: how much likelier the test images "
    "are than under the model that ends below level t, with a Gaussian of full covariance for its "
    "prior. Retrained gap: than under the model that was trained with the levels below only."
)


def cells(
    study: Study, metrics: Sequence[Metric] = HEADLINE, has_throughput: bool = True
) -> pd.DataFrame:
    """Long form: one row per cell and metric, with run counts, n, mean, interval, `shown`.

    A metric that no run has gives no rows; a cell without runs has n = 0 and shows "–".
    """
    rates = throughput_metrics(study) if has_throughput else []
    shown_metrics = [m for m in (*metrics, *rates) if study.shows(m)]
    named = {m.name: m for m in shown_metrics or [Metric("", "")]}  # a cell without any has a row
    grid = _counts(study).merge(pd.DataFrame({"metric": list(named)}), how="cross")
    on = [*study.cell, "metric"]
    tidy = grid.merge(summary(study.runs, study.cell, list(named)), on=on, how="left")
    tidy = tidy.merge(_best(study, list(named.values())), on=on, how="left")
    # The runs of a cell share one measurement of throughput: an interval over them would be 0 wide.
    is_measured_once = tidy["metric"].isin(metric.name for metric in rates)
    tidy.loc[is_measured_once, ["sd", "half_width", "lower", "upper"]] = float("nan")
    for _, column in tidy.groupby("metric", sort=False):
        texts = aligned(column["mean"].tolist(), column["half_width"].tolist())
        tidy.loc[column.index, "shown"] = texts
    return tidy.assign(
        heading=[named[name].heading for name in tidy["metric"]],
        n=tidy["n"].fillna(0).astype(int),
        is_best=tidy["is_best"].eq(True),
    )


def throughput_metrics(study: Study) -> list[Metric]:
    """One metric per headline task and machine measured, at the batch size that trains; the device
    alone names it where that is enough."""
    measured = study.throughput[study.throughput["task"].isin(HEADLINE_TASKS)]
    seen = measured[["task", "device", "machine"]].drop_duplicates()
    metrics = []
    for task, device, machine in seen.itertuples(index=False, name=None):
        is_only = len(seen[(seen["task"] == task) & (seen["device"] == device)]) == 1
        label = f"{TASKS.get(task, task)}, {device if is_only else machine}"
        metrics.append(Metric(rate_name(task, machine), label, "images/s"))
    return metrics


def _counts(study: Study) -> pd.DataFrame:
    """Per expected cell: parameters, expected runs, and how many have each status."""
    states = {name: (study.status["status"] == name).astype(int) for name in STATUSES}
    status = study.status.assign(expected=1, **states)
    by_cell = status.groupby([*study.cell, "parameters"], as_index=False, observed=True)
    return by_cell[["expected", *STATUSES]].sum()


def _best(study: Study, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Which cells are not distinguishable from the best of those they may be compared with."""
    marks = [
        not_worse(study.runs, study.cell, metric.name, metric.direction, metric.within)
        for metric in metrics
        if metric.direction
    ]
    columns = [*study.cell, "metric", "is_best"]
    best = pd.concat([m for m in marks if len(m)] or [pd.DataFrame(columns=columns)])
    return best.astype(study.status[study.cell].dtypes)


def cells_table(
    tidy: pd.DataFrame,
    study: Study,
    name: str,
    caption: str,
    notes: Sequence[str] = (),
    has_parameters: bool = True,
) -> Table:
    """The tidy frame laid out with one row per cell."""
    headings = [heading for heading in tidy["heading"].unique() if heading]
    rows = []
    for settings, group in groups(tidy, study.cell):
        first = group.iloc[0]
        count = [Entry(f"{first['parameters']:,}", int(first["parameters"]))] * has_parameters
        values = [_value(row) for _, row in group.iterrows() if row["heading"]]
        rows.append([*place(study, settings), _runs(first), *count, *values])
    titles = [*titles_of(study), "n", *["parameters"] * has_parameters, *headings]
    return without_constants(table(name, caption, titles, rows, notes, len(study.cell)))


def without_constants(whole: Table) -> Table:
    """The table without columns in which every row says the same: that is said once."""
    columns = list(zip(*whole.rows, strict=True)) if len(whole.rows) > 1 else []
    texts = [{entry.text for entry in column} for column in columns]
    same = [c for c, held in enumerate(texts) if len(held) == 1 and c >= whole.places]
    if not same:
        return whole
    said = ", ".join(f"{whole.headings[c]} {columns[c][0].text}" for c in same)
    kept = [c for c in range(len(columns)) if c not in same]
    return replace(
        whole,
        headings=tuple(whole.headings[c] for c in kept),
        rows=tuple(tuple(row[c] for c in kept) for row in whole.rows),
        constants=f"The same in every row: {said}.",
    )


def levels_table(study: Study) -> Table:
    """One row per cell and level: what each level holds, with intervals over seeds."""
    names = [name for name in OF_LEVELS if study.levels.get(name, pd.Series()).notna().any()]
    place_of_level = [*study.cell, "level"]
    means = summary(study.levels, place_of_level, names).set_index([*place_of_level, "metric"])
    known = {place: tuple(row) for place, *row in means[["mean", "half_width", "n"]].itertuples()}
    rows = []
    for settings, group in groups(study.levels, place_of_level):
        n, alive = len(group), count_alive(group)
        absent = (math.nan, math.nan, 0)
        found = [known.get((*settings.values(), name), absent) for name in names]
        values = [Entry(shown(mean, half) + own_n(of, n), mean) for mean, half, of in found]
        counts = (settings["level"], n, Entry(f"{alive} of {n}", alive))
        rows.append([*place(study, settings), *counts, *values])
    headings = [*titles_of(study), "level", "n", "alive", *(OF_LEVELS[name] for name in names)]
    places = len(study.cell) + 1
    return table("levels", "Every level of every cell", headings, rows, [LEVELS_NOTE], places)


def titles_of(study: Study) -> list[str]:
    """The headings of what names a cell."""
    return [factor.label for factor in study.factors]


def place(study: Study, settings: Mapping[Any, Any]) -> list[Entry]:
    """What names a cell, as entries of a table."""
    return [setting(factor, settings[factor.name]) for factor in study.factors]


def setting(factor: Factor, value: Any) -> Entry:
    """One value of a factor as an entry of a table."""
    text = factor.text(value)
    return Entry(text, float(value) if isinstance(value, Real) else text)


def _runs(row: "pd.Series[Any]") -> Entry:
    """`5`, or `3 of 5 (1 failed, 1 missing)`: no cell hides what it lacks."""
    lacking = [f"{row[name]} {name}" for name in STATUSES[1:] if row[name]]
    text = f"{row['finished']} of {row['expected']} ({', '.join(lacking)})"
    return Entry(text if lacking else str(row["finished"]), int(row["finished"]))


def _value(row: "pd.Series[Any]") -> Entry:
    text = f"{row['shown']}{own_n(row['n'], row['finished'])}"
    return Entry(text, float(row["mean"]), bool(row["is_best"]))


def own_n(n: int, of: int) -> str:
    """` (n = 3)`, where that is another number of runs than the row's."""
    return f" (n = {n})" if n not in (0, of) else ""
