"""The report of a study: written anew where it is not that of this grid and these records."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ablations.grid import runs
from ablations.studies import Study
from hvae import __version__
from hvae.config import RunConfig, digest
from hvae.records.store import Store

FORMATS = "html,latex,csv,md"
STAMP = ".stamp"


def current_report(study: Study, store: Store) -> Path:
    """The page of this very grid and of the records there now: written only where it is not."""
    folder = store.folder / "report"
    page, stamp = folder / "index.html", folder / STAMP
    is_current = stamp.exists() and stamp.read_text() == report_stamp(store, runs(study))
    if not (is_current and page.exists()):
        store.open_for_writing()
        rewrite_report(study, store, FORMATS.split(","))
    return page


def rewrite_report(study: Study, store: Store, formats: Sequence[str]) -> list[Path]:
    """Write the report from the records there now; with a page goes the stamp of what it shows."""
    from report.study.writer import write_report

    folder, now = store.folder / "report", report_stamp(store, runs(study))
    written = write_report(study.name, study.question, runs(study), store, folder, formats)
    if "html" in formats:
        (folder / STAMP).write_text(now)
    return written


def report_stamp(store: Store, runs: Iterable[RunConfig]) -> str:
    """What a report depends on: the grid's keys, its records' files, the benches beside them."""
    files = [*store.runs.glob("*.json"), *(store.folder.parent / "bench").glob("*.json")]
    seen = [f"{path.name} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in files]
    keys = [digest(run) for run in runs]
    return hashlib.sha256("\n".join([__version__, *keys, *sorted(seen)]).encode()).hexdigest()
