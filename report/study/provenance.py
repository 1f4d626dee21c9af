"""How the records of a study were made, and which of them there are."""

from typing import Any

import pandas as pd

from report.data.frames import STATUSES, Study
from report.data.metrics import COMMON, OWN
from report.render.tables import Entry, Table, frame_table
from report.study.cells import setting

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


def status_counts(study: Study) -> dict[str, int]:
    """Expected keys, and how many are in each state."""
    found = study.status["status"].value_counts()
    return {"expected": len(study.status)} | {n: int(found.get(n, 0)) for n in STATUSES}


def status_table(study: Study) -> Table:
    """Every expected key: its settings, its state, and why it has no numbers if it has none."""
    return _states(study, study.status, "status", "Every run of the study, by key")


def lacking_table(study: Study) -> Table:
    """The runs without numbers: failed, diverged, damaged or missing."""
    lacking = study.status[study.status["status"] != "finished"]
    return _states(study, lacking, "lacking", "Runs without numbers")


def _states(study: Study, status: pd.DataFrame, name: str, caption: str) -> Table:
    columns: dict[str, list[Any]] = {"key": status["key"].tolist()}
    columns |= {f.label: [setting(f, value) for value in status[f.name]] for f in study.varying}
    columns |= {column: status[column].tolist() for column in ("seed", "status", "message")}
    return frame_table(pd.DataFrame(columns), name, caption)


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
    if study.stale:
        many = "record of this study is" if study.stale == 1 else "records of this study are"
        said.append(f"{study.stale} {many} stale: the hvae at hand did not make them.")
    if len(study.made) and (study.made.groupby("data.name")["data_sha256"].nunique() > 1).any():
        said.append("The records of one data set come from different data files.")
    said += _not_compared(study) + _left_out(study)
    if study.unasked:
        said.append(f"{study.unasked} further records in the folder belong to no expected run.")
    return said


def _not_compared(study: Study) -> list[str]:
    """Which steps no metric can judge."""
    metrics = (*OWN, *COMMON)
    return [
        f"{step} is not compared: the numbers of different images measure different things."
        for step, changed in study.contrasts.differing.items()
        if not any(changed.isdisjoint(metric.within) for metric in metrics)
    ]


def _left_out(study: Study) -> list[str]:
    """Which runs no mean is over."""
    said, counts = [], status_counts(study)
    if count := counts["diverged"]:
        said.append(f"{count} diverged: shown in the loss curves, left out of every mean.")
    if count := counts["damaged"]:
        first = study.status.query("status == 'damaged'")["message"].iloc[0]
        said.append(f"{count} damaged, left out of everything; the first: {first}.")
    absent = [f"{counts[name]} {name}" for name in ("failed", "missing") if counts[name]]
    if absent:
        said.append(f"{' and '.join(absent)}: every mean is over the finished runs only.")
    return said
