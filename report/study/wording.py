"""How a contrast is put into words: what is held, what is averaged, what counts as clear."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from report.data.frames import Study
from report.data.metrics import axis_label
from report.data.statistics import FEWEST_SEEDS

SIGNIFICANCE = 0.05
GRID = ("depth", "loss", "latent")  # the axes a main effect averages over


@dataclass(frozen=True)
class Finding:
    """A question and the sentences that answer it."""

    question: str
    sentences: tuple[str, ...]


def held(study: Study, *free: str) -> list[str]:
    """The cell's columns but `free`."""
    return [name for name in study.cell if name not in free]


def where(study: Study, row: dict[str, Any]) -> str:
    """`BCE, latent 20`: what a contrast holds fixed, and what it averages over."""
    fixed = [n for n in study.cell if n in row and (n == "loss" or n in study.varying())]
    parts = [axis_label(name, row[name]) for name in fixed]
    averaged = []
    for name in GRID:
        if name in row or name in row.get("factor", "").split(" x "):
            continue
        labels = [axis_label(name, value) for value in sorted(study.status[name].unique())]
        if len(labels) > 1:
            averaged.append(_listed(labels, name))
        else:
            parts += labels
    if averaged:
        parts.append(f"mean over {' × '.join(averaged)}")
    return ", ".join(parts)


def _listed(labels: list[str], name: str) -> str:
    """`latent 2, 20`: the axis is named once."""
    return f"{labels[0]}, " + ", ".join(label.removeprefix(f"{name} ") for label in labels[1:])


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Column -> value, a dict per row."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def too_few(n: int) -> str:
    """The answer where too few seeds are complete."""
    return (
        f"No finding: what is compared here is complete for {n} of the paired seeds, and nothing "
        f"is claimed from fewer than {FEWEST_SEEDS}."
    )


def is_clear(row: dict[str, Any]) -> bool:
    """Whether a contrast may be stated with its direction."""
    return bool(row["n"] >= FEWEST_SEEDS and row["holm_p"] < SIGNIFICANCE)
