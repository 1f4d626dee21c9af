"""Records → tidy DataFrames: one row per run, and long frames per level, epoch and measurement.

Reads what is expected, key by key, so that no key counts twice and every missing one is seen.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hvae.closed_form import run_parameters
from hvae.records.attachments import AttachmentError, read_arrays
from hvae.records.standings import Standing
from hvae.records.store import Record, Store
from hvae.settings import axis_names, digest, value
from report.data.contrasts import LEVELS, Contrasts, compare
from report.data.design import Design
from report.data.factors import VARIANT, Factor, factors_of
from report.data.metrics import (
    BY_IMAGE,
    SCOPES,
    Metric,
)
from report.data.rows import (
    RATES,
    Row,
    curve_rows,
    epoch_rows,
    level_rows,
    made_by,
    run_row,
    throughput_rows,
)
from report.data.statistics import Floats

STATUSES = ("finished", "diverged", "failed", "missing", "damaged", "unreadable")


@dataclass(frozen=True)
class Study:
    """All the report reads. Every frame has `key`, the cell's columns, `SCOPES` and `seed`.

    status: one row per expected key, with `status`, `message`, `parameters`.
    runs: finished runs only, one row each, scalar metrics as columns (absent: NaN).
    levels, epochs, curve, throughput: long; epochs also hold the diverged runs.
    made: where each record came from. factors: the columns that tell cells apart. common: the
    settings that all runs share. stale, unasked: records of other sources, and of no expected run.
    """

    design: Design
    factors: tuple[Factor, ...]
    common: Mapping[str, Any]
    status: pd.DataFrame
    runs: pd.DataFrame
    levels: pd.DataFrame
    epochs: pd.DataFrame
    curve: pd.DataFrame
    throughput: pd.DataFrame
    made: pd.DataFrame
    contrasts: Contrasts
    stale: int
    unasked: int

    @property
    def cell(self) -> list[str]:
        """The columns that tell cells apart."""
        return [factor.name for factor in self.factors]

    @property
    def varying(self) -> list[Factor]:
        """The factors that take more than one value: all, but in a study of one cell."""
        return [factor for factor in self.factors if len(factor.values) > 1]

    @property
    def grid(self) -> pd.DataFrame:
        """One row per expected cell: its columns and the settings of `SCOPES`."""
        columns = list(dict.fromkeys([*self.cell, *SCOPES]))
        return self.status[columns].drop_duplicates().sort_values(self.cell)

    def shows(self, metric: Metric) -> bool:
        """Whether any run has a metric, and it is no second name of another."""
        return metric.is_shown(self.runs)


def load(design: Design, standings: Sequence[Standing], store: Store) -> Study:
    """The records that a survey found; a damaged one is listed with its message, never a crash.
    `store` is asked only for records that nobody expects."""
    laid_out = list(map(_lay_out, standings))
    standings = [standing for standing, _ in laid_out]
    factors = factors_of(design)
    settings = _settings(design, factors)
    records = {s.digest: s.record for s in standings if s.record is not None}.values()
    finished = [record for record in records if record.status == "finished"]

    rows_of = {standing.digest: rows for standing, rows in laid_out}

    def frame(kind: str, of: Iterable[Record], *columns: str) -> pd.DataFrame:
        keys = [record.digest for record in of]
        listed = [{"key": key, **row} for key in keys for row in rows_of[key][kind]]
        table = pd.DataFrame(listed) if listed else pd.DataFrame(columns=["key", *columns])
        return settings.merge(table, on="key")

    status = _status(settings, standings, store)
    runs = frame("runs", finished)
    return Study(
        design=design,
        factors=factors,
        common=_common(design, factors),
        status=status,
        runs=runs,
        levels=_with_retrained_gaps(frame("levels", finished, "level"), runs, factors),
        epochs=frame("epochs", records, "epoch", "loss_nats", "is_lost"),
        curve=frame("curve", finished, "samples", "nll_encoder_nats"),
        throughput=frame("throughput", records, *RATES),
        made=frame("made", records),
        contrasts=compare(runs, status, factors, by_image(store, runs["key"])),
        stale=len({standing.digest for standing in standings if standing.state == "stale"}),
        unasked=len(store.finished() - set(settings["key"])),
    )


KINDS: dict[str, Callable[[Record], Iterable[Row]]] = {
    "runs": lambda record: [run_row(record)],
    "levels": level_rows,
    "epochs": epoch_rows,
    "curve": curve_rows,
    "throughput": throughput_rows,
    "made": lambda record: [made_by(record)],
}


def _lay_out(standing: Standing) -> tuple[Standing, dict[str, list[Row]]]:
    """The standing and its record in rows of every kind; that of a damaged record where one cannot
    be laid out, as that of an hvae that names or nests its numbers in another way."""
    record = standing.record
    try:
        return standing, {n: list(rows(record)) if record else [] for n, rows in KINDS.items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"{standing.digest}: not the numbers of a run ({type(error).__name__}: {error})"
        return replace(standing, state="damaged", reason=reason, record=None), {}


def by_image(store: Store, keys: Iterable[str]) -> dict[str, dict[str, Floats]]:
    """What the runs left by test image, metric by metric; a damaged file is named elsewhere, and
    what is no list of numbers is none of them."""
    found: dict[str, dict[str, Floats]] = {name: {} for name in BY_IMAGE}
    for key in keys:
        with suppress(AttachmentError):
            for name, values in read_arrays(store.arrays_path(key), BY_IMAGE).items():
                if values.ndim == 1 and len(values) > 1 and values.dtype.kind == "f":
                    found[name][key] = values.astype(float)
    own, board = (found[name] for name in BY_IMAGE)
    return {BY_IMAGE[0]: own, BY_IMAGE[1]: own | board}  # of binary images under BCE they are one


def _settings(design: Design, factors: Sequence[Factor]) -> pd.DataFrame:
    """One row per run and cell: key, factors, `SCOPES`, seed, parameters."""
    cell, runs = [factor.name for factor in factors], design.runs
    columns: dict[str, Any] = {"key": pd.Series(map(digest, runs), dtype=str)}
    for name in (*cell, *SCOPES, "seed"):
        is_variant = name == VARIANT
        columns[name] = design.variant_of if is_variant else [value(run, name) for run in runs]
    for factor in factors:  # categories carry the order into every group and sort
        columns[factor.name] = pd.Categorical(columns[factor.name], factor.values, ordered=True)
    columns["parameters"] = list(map(run_parameters, runs))
    return pd.DataFrame(columns).drop_duplicates(["key", *cell])


def _common(design: Design, factors: Sequence[Factor]) -> Row:
    values = {name: {value(run, name) for run in design.runs} for name in axis_names()}
    cell = {factor.name for factor in factors}
    return {
        name: held.pop() for name, held in values.items() if len(held) == 1 and name not in cell
    }


def _status(settings: pd.DataFrame, standings: Iterable[Standing], store: Store) -> pd.DataFrame:
    """Every expected run with its status, and why it has no record; the message is the same
    wherever the store lies."""
    states = {s.digest: s.record.status if s.record else s.state for s in standings}
    reasons = {s.digest: "" if s.record else s.reason for s in standings}
    messages = {key: reason.replace(f"{store.folder}/", "") for key, reason in reasons.items()}
    keys = settings["key"]
    return settings.assign(status=keys.map(states), message=keys.map(messages))


def count_alive(levels: pd.DataFrame) -> int:
    """In how many rows of `Study.levels` the level is alive."""
    return int(is_alive(levels).sum())


def is_alive(levels: pd.DataFrame) -> "pd.Series[bool]":
    """Of each row whether the level is."""
    return levels["kl_nats"].astype(float) >= levels["alive_from_nats"]


def _with_retrained_gaps(
    levels: pd.DataFrame, runs: pd.DataFrame, factors: Sequence[Factor]
) -> pd.DataFrame:
    """The levels with how much higher the NLL of the same seed is that was trained without levels
    t to T; NaN where the study has no such run."""
    if "nll_nats" not in runs or LEVELS not in runs:
        return levels.assign(retrained_gap_nats=math.nan)
    same = [*(factor.name for factor in factors if factor.name != LEVELS), "seed"]
    shorter = runs[[*same, LEVELS, "nll_nats"]].astype({LEVELS: int})
    shorter = shorter.assign(level=shorter.pop(LEVELS) + 1).rename(columns={"nll_nats": "without"})
    known = levels.merge(runs[["key", "nll_nats"]].drop_duplicates(), on="key", how="left")
    known = known.merge(shorter, on=[*same, "level"], how="left")
    return known.assign(retrained_gap_nats=known.pop("without") - known.pop("nll_nats"))
