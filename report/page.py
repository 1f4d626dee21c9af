"""One self-contained HTML page of a study: findings, tables, figures, and how it was made.

Nothing of now enters it: the same records give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from report.benches import Benches
from report.comparisons import contrast_table, error_table
from report.drawing import Drawing, svg
from report.findings import findings
from report.formats import Entry, Table, frame_table, to_html
from report.load import STATUSES, Study
from report.metrics import BOLD_NOTE, COMMON_NOTE, DETAIL
from report.tables import cells, cells_table

TEMPLATES = Path(__file__).parent / "templates"
WIDE_INCHES = 8.0  # wider figures take the whole width of the page
MADE = {  # column of `Study.made` -> what a reader calls it
    "code_version": "hvae version",
    "code_sources_sha256": "digest of its sources",
    "code_git_commit": "git commit",
    "code_git_dirty": "uncommitted changes",
    "data_sha256": "data SHA-256",
    "python": "Python",
    "torch": "PyTorch",
    "device": "device",
    "device_name": "device name",
    "threads": "threads",
    "platform": "platform",
    "flags": "flags",
}


@dataclass(frozen=True)
class Picture:
    """A drawing as the template needs it."""

    name: str
    title: str
    caption: str
    svg: Markup
    is_wide: bool
    width_rem: float


def render(
    title: str,
    question: str,
    study: Study,
    drawings: Sequence[Drawing],
    benches: Benches,
) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["table"] = lambda table: Markup(to_html(table))
    environment.filters["tie"] = _tie
    return environment.get_template("page.html.j2").render(
        title=title,
        question=question,
        findings=findings(study),
        counts=status_counts(study),
        headline=headline_table(study),
        pictures=[_picture(drawing) for drawing in drawings],
        ladders=[_picture(drawing) for drawing in benches.drawings],
        details=[table for table in detail_tables(study) if table.rows],
        made=[made_table(study), status_table(study)],
        notices=[*notices(study), *benches.notices],
    )


def _tie(text: str) -> str:
    """No line break inside `n = 5` or `1.5 ± 0.1`."""
    return text.replace("n = ", "n\xa0=\xa0").replace(" ± ", "\xa0±\xa0")


def _picture(drawing: Drawing) -> Picture:
    inches = float(drawing.figure.get_figwidth())
    graphic = Markup(svg(drawing))  # our own output, already escaped by matplotlib
    wide = inches > WIDE_INCHES
    return Picture(drawing.name, drawing.title, drawing.caption, graphic, wide, 6.5 * inches)


def headline_table(study: Study) -> Table:
    """One row per cell: runs, parameters, quality, throughput."""
    notes = [COMMON_NOTE, BOLD_NOTE, *_machines(study)]
    return cells_table(cells(study), study, "cells", "Every cell of the study", notes)


def detail_tables(study: Study) -> list[Table]:
    """What stands behind the headline: more metrics, contrasts, the errors apart."""
    more = cells(study, DETAIL, has_throughput=False)
    return [
        cells_table(more, study, "more", "Further metrics of every cell"),
        contrast_table(study, is_averaged=True),
        contrast_table(study, is_averaged=False),
        error_table(study),
    ]


def status_counts(study: Study) -> dict[str, int]:
    """Expected keys, and how many are in each state."""
    found = study.status["status"].value_counts()
    return {"expected": len(study.status)} | {n: int(found.get(n, 0)) for n in STATUSES}


def status_table(study: Study) -> Table:
    """Every expected key: its settings, its state, and why it has no numbers if it has none."""
    names = [*(n for n in study.cell if study.status[n].nunique() > 1), "seed"]
    frame = study.status[["key", *names, "status", "message"]]
    return frame_table(frame, "status", "Every run of the study, by key")


def made_table(study: Study) -> Table:
    """Where the records came from: each value with the number of runs that have it."""
    rows = []
    for column, label in MADE.items():
        if column in study.made:
            counts = study.made[column].map(_plain).value_counts().sort_index()
            rows += [(label, str(value), int(n)) for value, n in counts.items()]
    for name, label in (
        ("train_seconds", "training, s"),
        ("evaluate_seconds", "evaluation, s"),
    ):
        if name in study.made:
            total = study.made[name].astype(float).sum()
            rows.append((f"cost of all runs: {label}", f"{total:,.0f}", len(study.made)))
    entries = [(label, Entry(value, value), n) for label, value, n in rows]
    frame = pd.DataFrame(entries, columns=["what", "value", "runs"])
    return frame_table(frame, "made", "How the records were made")


def _plain(value: Any) -> str:
    return str(value) if pd.notna(value) and value != "" else "not recorded"


def notices(study: Study) -> list[str]:
    """What a reader must know before believing a mean."""
    said = []
    if study.status.empty:
        said.append("This study expects no run.")
    if study.made.get("code_sources_sha256", pd.Series(dtype=str)).nunique() > 1:
        said.append("The records come from different hvae sources: their means mix versions.")
    if len(study.made) and (study.made.groupby("data")["data_sha256"].nunique() > 1).any():
        said.append("The records of one data set come from different data files.")
    diverged = int((study.status["status"] == "diverged").sum())
    if diverged:
        said.append(f"{diverged} diverged: shown in the loss curves, left out of every mean.")
    if study.unasked:
        said.append(f"{study.unasked} further records in the folder belong to no expected run.")
    return said


def _machines(study: Study) -> list[str]:
    if study.throughput.empty:
        return []
    return [f"Throughput measured on: {'; '.join(sorted(study.throughput['machine'].unique()))}."]
