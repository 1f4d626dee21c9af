"""The record of the performance gate tried on itself: JSON files in, one table out."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from report.render.numbers import ABSENT
from report.render.tables import Entry, Table, frame_table

NAME = re.compile(r"(aa|planted)-.*\.json")
HEADINGS = ("compared", "machine", "meanwhile", "found", "inconclusive", "bound of the rate")
NOTE = (
    "HEAD against itself: every failure is a false alarm, and the bound is from above. Planted: "
    "work added to the training step, every failure is a catch, and the bound is from below. "
    "One-sided Clopper-Pearson bounds; an inconclusive trial counts as no failure."
)


def is_trial(path: Path) -> bool:
    """Whether a file holds trials of the gate, by its name."""
    return NAME.fullmatch(path.name) is not None


def read_trials(path: Path) -> dict[str, Any]:
    """A file's document. Raises `ValueError` or `TypeError` where it is no whole record."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("it is no table of keys")
    _row(document)  # what cannot be shown shows here, not in the page
    return document


def gate_table(documents: list[dict[str, Any]]) -> Table:
    """A row for each kind of trial, machine and load; a key that is absent shows "–"."""
    frame = pd.DataFrame([_row(document) for document in documents], columns=[*HEADINGS, "commit"])
    return frame_table(frame, "gate", "The performance gate, tried on itself", [NOTE])


def _row(document: dict[str, Any]) -> list[Any]:
    percent = document.get("planted_percent") or 0.0
    found, word = document.get("false_alarms"), "false alarms"
    if percent:
        found, word = document.get("caught"), "caught"
    repeats, machine = document.get("repeats"), document.get("machine")
    return [
        Entry(f"{percent:g} % planted" if percent else "HEAD against itself", percent),
        machine.get("device_name", ABSENT) if isinstance(machine, dict) else machine or ABSENT,
        _load(document.get("is_under_load")),
        f"{_text(found)} {word} in {_text(repeats)}",
        _text(document.get("inconclusive")),
        _bound(document.get("bound"), document.get("confidence"), "≥" if percent else "≤"),
        str(document.get("commit") or ABSENT)[:10],
    ]


def _load(is_under_load: bool | None) -> str:
    words = {True: "a core kept busy", False: "nothing else started"}
    return ABSENT if is_under_load is None else words[is_under_load]


def _bound(bound: float | None, confidence: float | None, sign: str) -> Entry:
    if bound is None:
        return Entry(ABSENT, 0.0)
    level = f" ({100 * confidence:g} %)" if confidence else ""
    return Entry(f"{sign} {100 * bound:.1f} %{level}", bound)


def _text(value: int | None) -> str:
    return ABSENT if value is None else str(value)
