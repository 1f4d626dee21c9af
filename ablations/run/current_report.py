"""The report of a study: written anew where it is not that of this grid and these records."""

from collections.abc import Sequence
from pathlib import Path

from ablations.grid import runs
from ablations.status import report_stamp
from ablations.studies import Study
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
