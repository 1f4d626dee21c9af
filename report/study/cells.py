"""One tidy frame of cells → HTML, LaTeX (booktabs), Markdown, CSV: the same text in all four.

`cells` computes and rounds once; `report.render.tables` only escapes. Digits follow the interval.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import pandas as pd

from report.data.frames import STATUSES, Study
from report.data.metrics import HEADLINE, HEADLINE_TASKS, LOSS_LABELS, TASKS, Metric
from report.data.statistics import not_worse, summary
from report.render.numbers import ABSENT, shown
from report.render.tables import Entry, Table

FAMILY = (
    "loss",
    "data",
    "binarize",
)  # cells that share a likelihood of the same pixels
ALWAYS = ("depth", "loss", "latent")
OF_LEVELS = {  # column of `Study.levels` -> its heading
    "kl_nats": "KL (nats)",
    "value_nats": "levels t to T buy (nats)",
    "active_units": "active units",
    "active_units_scale_free": "active units, scale-free",
    "probe_accuracy": "probe accuracy",
}


def cells(
    study: Study, metrics: Sequence[Metric] = HEADLINE, has_throughput: bool = True
) -> pd.DataFrame:
    """Long form: one row per cell and metric, with run counts, n, mean, interval, `shown`.

    A metric that no run has gives no rows; a cell without runs has n = 0 and shows "–".
    """
    cell = list(study.cell)
    counts = _counts(study)
    named = {
        m.name: m for m in metrics if m.name in study.runs and study.runs[m.name].notna().any()
    }
    if has_throughput:
        named |= {metric.name: metric for metric in throughput_metrics(study)}
    if not named:
        return counts.assign(metric="", heading="", n=0, shown=ABSENT, is_best=False)
    grid = counts.merge(pd.DataFrame({"metric": list(named)}), how="cross")
    tidy = grid.merge(summary(study.runs, cell, list(named)), on=[*cell, "metric"], how="left")
    tidy = tidy.merge(_best(study, list(named.values())), on=[*cell, "metric"], how="left")
    # The runs of a cell share one measurement of throughput: an interval over them would be 0 wide.
    is_measured_once = tidy["metric"].isin(m.name for m in throughput_metrics(study))
    intervals = ["sd", "half_width", "lower", "upper"]
    tidy.loc[is_measured_once, tidy.columns.intersection(intervals)] = float("nan")
    return tidy.assign(
        heading=[named[name].heading for name in tidy["metric"]],
        n=tidy["n"].fillna(0).astype(int),
        is_best=tidy["is_best"].eq(True),
        shown=[shown(*pair) for pair in zip(tidy["mean"], tidy["half_width"], strict=True)],
    )


def throughput_metrics(study: Study) -> list[Metric]:
    """One metric per headline task and machine measured, at the batch size that trains; the device
    alone names it where that is enough."""
    measured = study.throughput[study.throughput["task"].isin(HEADLINE_TASKS)]
    seen = measured.reindex(columns=["task", "device", "machine"]).drop_duplicates()
    metrics = []
    for _, row in seen.iterrows():
        is_only = len(seen[(seen["task"] == row["task"]) & (seen["device"] == row["device"])]) == 1
        where = row["device"] if is_only else row["machine"]
        task = TASKS.get(row["task"], row["task"])
        metrics.append(Metric(f"{row['task']}@{row['machine']}", f"{task}, {where}", "images/s"))
    return [metric for metric in metrics if metric.name in study.runs]


def _counts(study: Study) -> pd.DataFrame:
    """Per expected cell: parameters, expected runs, and how many have each status."""
    cell = list(study.cell)
    status = study.status.assign(expected=1)
    for name in STATUSES:
        status[name] = (status["status"] == name).astype(int)
    groups = status.groupby([*cell, "parameters"], as_index=False)
    return groups[["expected", *STATUSES]].sum()


def _best(study: Study, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Which cells are not distinguishable from the best; own-family metrics within a family."""
    marks = [
        not_worse(
            study.runs,
            study.cell,
            metric.name,
            metric.direction,
            FAMILY[1:] if metric.is_common else FAMILY,
        )
        for metric in metrics
        if metric.direction
    ]
    empty = pd.DataFrame(columns=[*study.cell, "metric", "is_best"])
    filled = [mark for mark in marks if len(mark)]
    return pd.concat(filled) if filled else empty.astype(study.status[[*study.cell]].dtypes)


def cells_table(
    tidy: pd.DataFrame, study: Study, name: str, caption: str, notes: Sequence[str] = ()
) -> Table:
    """The tidy frame laid out with one row per cell; axes that never vary are left out."""
    axes = shown_axes(study)
    names = [metric for metric in tidy["metric"].unique() if metric]
    headings = tidy.drop_duplicates("metric").set_index("metric")["heading"]
    rows = []
    for values, group in tidy.groupby(list(study.cell)):
        first = group.iloc[0]
        settings = dict(zip(study.cell, values, strict=True))
        left = [setting(axis, settings[axis]) for axis in axes]
        left += [
            runs_entry(first),
            Entry(f"{first['parameters']:,}", int(first["parameters"])),
        ]
        by_metric = group.set_index("metric")
        rows.append((*left, *(_value(by_metric.loc[metric]) for metric in names)))
    titles = [axis.replace("_", " ") for axis in axes]
    return Table(
        name,
        caption,
        (*titles, "n", "parameters", *(headings[metric] for metric in names)),
        tuple(rows),
        tuple(notes),
    )


def levels_table(study: Study) -> Table:
    """One row per cell and level: what each level holds, with intervals over seeds."""
    place = [*shown_axes(study), "level"]
    names = [name for name in OF_LEVELS if name in study.levels]
    table = summary(study.levels, [*study.cell, "level"], names)
    rows = []
    for _, group in table.groupby([*study.cell, "level"]):
        first, by_metric = group.iloc[0], group.set_index("metric")
        n = int(group["n"].max())
        values = [_level_value(by_metric, name) for name in names]
        rows.append((*(setting(p, first[p]) for p in place), Entry(str(n), n), *values))
    titles = [name.replace("_", " ") for name in place]
    headings = (*titles, "n", *(OF_LEVELS[name] for name in names))
    note = "Level 1 is next to the pixels. 95 % t intervals over seeds."
    return Table("levels", "Every level of every cell", headings, tuple(rows), (note,))


def _level_value(by_metric: pd.DataFrame, name: str) -> Entry:
    values = by_metric[["mean", "half_width"]].astype(float).reindex([name]).to_numpy()[0]
    return Entry(shown(*values), float(values[0]))


def shown_axes(study: Study) -> list[str]:
    """The columns that name a cell to a reader: depth, loss, latent, and whatever varies."""
    return [a for a in study.cell if a in ALWAYS or a in study.varying()]


def setting(axis: str, value: Any) -> Entry:
    """One level of an axis as an entry of a table."""
    text = LOSS_LABELS.get(str(value), str(value)) if axis == "loss" else str(value)
    return Entry(text, float(value) if isinstance(value, Real) else text)


def runs_entry(row: "pd.Series[Any]") -> Entry:
    """`5`, or `3 of 5 (1 failed, 1 missing)`: no cell hides what it lacks."""
    lacking = [f"{row[name]} {name}" for name in STATUSES[1:] if row[name]]
    text = f"{row['finished']} of {row['expected']} ({', '.join(lacking)})"
    return Entry(text if lacking else str(row["finished"]), int(row["finished"]))


def _value(row: "pd.Series[Any]") -> Entry:
    text = str(row["shown"])
    if row["n"] and row["n"] != row["finished"]:
        text += f" (n = {row['n']})"
    return Entry(text, float(row["mean"]), bool(row["is_best"]))
