"""How the records of a study were made, and which of them there are."""

import pandas as pd

from report.data.contrasts import Step
from report.data.frames import STATUSES, Study
from report.data.metrics import COMMON, OWN
from report.render.tables import Table, escape_latex, table
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
COSTS = {"train_seconds": "training, s", "evaluate_seconds": "evaluation, s"}


def status_counts(study: Study) -> dict[str, int]:
    """Expected keys, and how many are in each state."""
    counts = study.status["status"].value_counts()
    return {"expected": len(study.status)} | {n: int(counts.get(n, 0)) for n in STATUSES}


def status_table(name: str, caption: str, study: Study, status: pd.DataFrame) -> Table:
    """Runs by key: their settings, their state, and why one has no numbers if it has none."""
    rows = [
        [
            run["key"],
            *(setting(factor, run[factor.name]) for factor in study.varying),
            *(run[column] for column in ("seed", "status", "message")),
        ]
        for run in status.to_dict("records")
    ]
    varying = [factor.label for factor in study.varying]
    return table(name, caption, ["key", *varying, "seed", "status", "message"], rows)


def made_table(study: Study) -> Table:
    """Where the records came from: each value with the number of runs that have it."""
    made, rows = study.made, []
    for column, label in MADE.items():
        if column in made:
            plain = made[column].astype(object).fillna("not recorded").astype(str)
            counts = plain.value_counts().sort_index()
            rows += [[label, value, n] for value, n in counts.items()]
    for column, label in COSTS.items():
        if column in made:
            total = made[column].astype(float).sum()
            rows.append([f"cost of all runs: {label}", f"{total:,.0f}", len(made)])
    return table("made", "How the records were made", ["what", "value", "runs"], rows)


def citation(study: Study) -> str:
    """A BibTeX entry of the study and of the software that made its records."""
    made = study.made
    versions = sorted(set(made.get("code_version", pd.Series(dtype=str)).dropna()))
    commits = sorted({c[:12] for c in made.get("code_git_commit", pd.Series(dtype=str)).dropna()})
    software = " ".join(["hvae", *versions]) + (f", commit {', '.join(commits)}" if commits else "")
    title = f"{study.design.name}: {study.design.question or 'an ablation study'}"
    return (
        f"@misc{{hvae-{study.design.name},\n"
        f"  title = {{{escape_latex(title)}}},\n"
        f"  howpublished = {{{software}}},\n"
        f"  note = {{{len(study.runs)} runs}}\n}}"
    )


def not_compared(study: Study) -> list[Step]:
    """The steps that no metric can judge, for the numbers of different images measure different
    things."""
    metrics = (*OWN, *COMMON)
    return [
        step
        for step, changed in study.contrasts.differing.items()
        if not any(changed.isdisjoint(metric.within) for metric in metrics)
    ]
