"""The records of a study in a tracker, each once, however often this is called."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ablations.grid import labels
from ablations.run.launch import require_records
from ablations.run.progress import say
from ablations.studies import Study
from ablations.trackers.content import TrackedRun, record_sha256, tracked
from ablations.trackers.mlflow_export import open_mlflow, without_password
from ablations.trackers.tensorboard_export import open_tensorboard
from hvae.records.attachments import AttachmentError
from hvae.records.standings import Standing
from hvae.records.store import Record, Store
from hvae.tiles import Pixels


class Tracker(Protocol):
    """Where runs are exported to."""

    def holds(self, digest: str, record_sha256: str) -> bool:
        """Whether this very record was exported to its end."""

    def write(self, run: TrackedRun) -> None:
        """Export a run in place of what was there of its digest."""


TRACKERS: dict[str, Callable[[str, str], Tracker]] = {
    "mlflow": open_mlflow,
    "tensorboard": open_tensorboard,
}


class Exported(NamedTuple):
    """How many runs were exported, how many were there already, and where."""

    written: int
    present: int
    where: str


def export_records(study: Study, store: Store, standings: Sequence[Standing], to: str) -> Exported:
    """Export every record that can be read to `mlflow:URI` or `tensorboard:DIR`; what is left out
    is said on stderr, and nothing is written to the store.

    Raises `ValueError` where there is no record, no such tracker, or where it takes no runs.
    """
    from tqdm import tqdm

    require_records(study, store, standings)
    records = {s.digest: s.record for s in standings if s.record is not None}
    tracker, words = open_tracker(to, study.name), labels(study)
    _say_what_differs(study.name, standings)
    todo = [r for r in records.values() if not tracker.holds(r.digest, record_sha256(r))]
    written = 0
    for record in tqdm(todo, desc=study.name, unit="run", file=sys.stderr, disable=None):
        try:
            run = tracked(record, words[record.digest], _pictures(store, record))
        except ValueError as error:
            say(f"{study.name}: left out: {error}")
            continue
        tracker.write(run)
        written += 1
    return Exported(written, len(records) - len(todo), without_password(to))


def open_tracker(to: str, study: str) -> Tracker:
    """The tracker at `mlflow:URI` or `tensorboard:DIR`. Raises `ValueError` where it is neither."""
    kind, _, where = to.partition(":")
    if kind not in TRACKERS or not where:
        raise ValueError(
            f"to: {without_password(to)!r} is not allowed; allowed: mlflow:URI or tensorboard:DIR"
        )
    return TRACKERS[kind](where, study)


def _say_what_differs(study: str, standings: Sequence[Standing]) -> None:
    """Name the runs that are left out, and those that a reader could take for others."""
    counts = Counter(s.state for s in standings if s.record is None)
    diverged = sum(s.record is not None and s.record.status == "diverged" for s in standings)
    stale = sum(s.state == "stale" for s in standings)
    if counts:
        say(f"{study}: left out: {', '.join(f'{n} {state}' for state, n in counts.items())}")
    if diverged:
        say(f"{study}: {diverged} diverged, with the tag status = diverged; in MLflow FAILED")
    if stale:
        say(f"{study}: {stale} stale, made by other sources of hvae; see the tag sources_sha256")


def _pictures(store: Store, record: Record) -> dict[str, Pixels]:
    """The sheets that the report shows, by kind; none where the run left none."""
    from report.study.pictures.gallery import COLUMNS, read_sheets

    path = store.arrays_path(record.digest)
    try:
        found = read_sheets(path) if path.exists() else ()
    except AttachmentError as error:
        say(f"without pictures: {error}")
        found = ()
    return {kind: sheet.pixels for kind, sheet in zip(COLUMNS, found, strict=False)}
