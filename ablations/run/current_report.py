"""The report of a study: written anew where it is not that of this study and these records."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import report
from ablations.grid import design
from ablations.studies import Study
from ablations.study_files import keep
from hvae import __version__
from hvae.records.standings import Standing
from hvae.records.store import Store
from report.data.design import Design

FORMATS = ("html", "latex", "csv", "md")
STAMP = ".stamp"


def current_report(study: Study, store: Store, standings: Sequence[Standing]) -> Path:
    """The page of this very study and of the records there now: written only where it is not."""
    folder = store.folder / "report"
    page, stamp = folder / "index.html", folder / STAMP
    now = report_stamp(design(study), standings, store)
    if not (page.exists() and stamp.exists() and stamp.read_text() == now):
        store.open_for_writing()
        rewrite_report(study, store, standings, FORMATS)
    return page


def rewrite_report(
    study: Study, store: Store, standings: Sequence[Standing], formats: Sequence[str]
) -> list[Path]:
    """Write the report from the records there now; with a page goes the stamp of what it shows."""
    from report.study.writer import write_report

    asked, folder = design(study), store.folder / "report"
    now = report_stamp(asked, standings, store)
    keep(study, store.folder)
    written = write_report(asked, standings, store, folder, formats)
    if "html" in formats:
        (folder / STAMP).write_text(now)
    return written


def report_stamp(asked: Design, standings: Iterable[Standing], store: Store) -> str:
    """What a report depends on: the study, how its runs stand, the files of its records and of the
    benches beside them, and what writes it."""
    records = [*store.runs.glob("[0-9a-f]*"), *(store.folder.parent / "bench").rglob("*.json")]
    seen = sorted(
        f"{path.name} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in records
    )
    states = [f"{standing.digest} {standing.state}" for standing in standings]
    facts = [__version__, repr(asked), *states, *seen, *_sources()]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _sources() -> Iterator[str]:
    """Digests of what the report is written by: its code and templates."""
    for path in sorted(Path(report.__file__).parent.rglob("*.*")):
        if path.is_file() and path.suffix != ".pyc":
            yield f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
