"""Images per second, as figures and as a table: each cell alone, CPU and GPU never on one axis.

A record has one measurement per task, device and batch size: the median of some rounds and its
quartiles. The runs of a cell share it, so there is nothing to average over seeds.
"""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from report.data.factors import Factor
from report.data.frames import Study
from report.data.metrics import TASKS
from report.data.statistics import groups
from report.render.drawing import Drawing, error_lines, facets, x_label
from report.render.numbers import ABSENT, shown
from report.render.panels import Layout, layout, span
from report.render.tables import Entry, Table, table
from report.study.cells import place, titles_of

RATE, LOWER, UPPER = "images_per_second", "lower_quartile", "upper_quartile"
NO_RATE = (Entry(ABSENT, math.nan), Entry(ABSENT, math.nan))
TABLE_NOTE = (
    "One model alone; median over the rounds of one measurement, which the runs of a cell share. "
    "Best batch: doubled until that gained less than 5 %, or would have taken ten times as long as "
    "the batch that trains; found once per depth."
)


def throughput(study: Study, x: Factor) -> Drawing | None:
    """Images per second against a factor, one panel per task, device and batch; none where the
    factor changes no rate: what is measured is the shape of a model."""
    if study.throughput[x.name].nunique() < 2:
        return None
    frame = by_panel(study)
    panel = Factor("panel", "", "", tuple(frame["panel"].cat.categories))
    shape = Layout(layout(study, None, x).lines, (panel,), is_shared=False)
    names = {RATE: "mean", LOWER: "lower", UPPER: "upper"}
    columns = ["panel", x.name, *(factor.name for factor in shape.lines)]
    means = frame.groupby(columns, observed=True)[[*names]].mean()
    others = [name for name in columns if name != x.name]
    if means[RATE].groupby(others, observed=True).nunique().max() < 2:
        return None
    table = means.reset_index().rename(columns=names)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        error_lines(axes, shape, part, x)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))

    figure = facets(table, shape, draw, x_label(x), "images per second")
    title = f"Throughput against {x.label}"
    return Drawing(f"throughput-{x.name}", title, _caption(study, frame), figure)


def by_panel(study: Study) -> pd.DataFrame:
    """The measurements with the `panel` they belong to, once per cell, sorted by device, then
    batch, then task. What is best at the batch size that trains stands in two panels."""
    frame = _measured(study)
    machines = frame.groupby("device")["machine"].transform("nunique")
    frame = frame.assign(
        where=frame["device"].where(machines == 1, frame["machine"]),
        task=pd.Categorical(frame["task"], list(TASKS)),
    )
    own = frame[frame["is_own_batch"].astype(bool)].assign(is_best=False)
    best = frame[frame["is_best_batch"].astype(bool)].assign(is_best=True)
    both = pd.concat([own, best])
    places = ["where", "is_best", "task"]
    titled = [part.assign(panel=_panel(part)) for _, part in groups(both, places)]
    shown = pd.concat(titled, ignore_index=True)
    return shown.assign(panel=pd.Categorical(shown["panel"], shown["panel"].unique()))


def throughput_table(study: Study) -> Table:
    """A row per cell, task and machine: the rate at the batch size that trains, and at the best."""
    columns = [*study.cell, "machine", "task"]
    measured = _measured(study)
    own, best = (_rates(measured, columns, name) for name in ("is_own_batch", "is_best_batch"))
    rows = []
    for settings, group in groups(measured, columns):
        engine = ", ".join(sorted(group["engine"].unique()))
        left = [*place(study, settings), TASKS[settings["task"]], engine, settings["machine"]]
        measurement = tuple(settings.values())
        rows.append([*left, *own.get(measurement, NO_RATE), *best.get(measurement, NO_RATE)])
    rates = ("batch", "images/s (quartiles)", "best batch", "images/s there (quartiles)")
    headings = [*titles_of(study), "task", "engine", "machine", *rates]
    title, places = "Throughput of every cell", len(study.cell)
    return table("throughput", title, headings, rows, [TABLE_NOTE], places)


def _measured(study: Study) -> pd.DataFrame:
    """The measurements, once per cell."""
    return study.throughput.drop_duplicates([*study.cell, "task", "machine", "batch", RATE])


def _panel(part: pd.DataFrame) -> str:
    """`train, cpu` and, in a second line, `batch 64` or `best batch 256–1,024`."""
    first, low, high = part.iloc[0], int(part["batch"].min()), int(part["batch"].max())
    sizes = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    batch = "best batch" if first["is_best"] else "batch"
    return f"{TASKS[first['task']]}, {first['where']}\n{batch} {sizes}"


def _rates(
    measured: pd.DataFrame, columns: list[str], batch: str
) -> dict[tuple[Any, ...], tuple[Entry, Entry]]:
    """By place a batch size and the rate there as entries; of several measurements the first."""
    first = measured[measured[batch].astype(bool)].drop_duplicates(columns)
    places = first[columns].itertuples(index=False, name=None)
    numbers = first[["batch", RATE, LOWER, UPPER]].itertuples(index=False, name=None)
    return {place: _entries(*row) for place, row in zip(places, numbers, strict=True)}


def _entries(batch: int, rate: float, lower: float, upper: float) -> tuple[Entry, Entry]:
    texts = [shown(value, math.nan) for value in (rate, lower, upper)]
    return Entry(f"{batch:,}", batch), Entry("{} ({}–{})".format(*texts), rate)


def _caption(study: Study, frame: pd.DataFrame) -> str:
    """What a point and its bar are, and how often each cell was measured."""
    n = span(frame.groupby([*study.cell, "panel"], observed=True).size())
    rounds = " or ".join(map(str, sorted(frame["repeats"].unique())))
    engines = " or ".join(sorted(frame.loc[frame["task"] == "train_step", "engine"].unique()))
    trained = f"Train: by the {engines} engine. " if engines else ""
    return (
        f"One model alone: median of {rounds} rounds, bars: quartiles over the rounds; {n} "
        "measurement a cell, mean over the other settings. "
        f"{trained}Batch: the size that trains; best batch: where doubling it gained less than "
        "5 %. Every device and batch has a panel of its own, with its own scale. "
        f"{'; '.join(sorted(frame['machine'].unique()))}."
    )
