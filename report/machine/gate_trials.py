"""The record of the performance gate tried on itself: JSON files in, one table out."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from report.render.tables import Entry, Table, table

NAME = re.compile(r"(aa|planted)-.*\.json")  # a file of trials; the gate's others are not read
HEADINGS = ("compared", "machine", "meanwhile", "found", "inconclusive", "bound of the rate")
NOTE = (
    "HEAD against itself: every failure is a false alarm, and the bound is from above. Planted: "
    "work added to the training step, every failure is a catch, and the bound is from below. "
    "One-sided Clopper-Pearson bounds; an inconclusive trial counts as no failure."
)


def gate_table(rows: Sequence[Sequence[object]]) -> Table:
    """A row for each kind of trial, machine and load."""
    caption = "The performance gate, tried on itself"
    return table("gate-trials", caption, (*HEADINGS, "commit"), rows, [NOTE])


def trials_row(document: Mapping[str, Any]) -> list[object]:
    """The row of a document."""
    percent, bound = document["planted_percent"], document["bound"]
    word, sign = ("caught", "≥") if percent else ("false alarms", "≤")
    found = document[word.replace(" ", "_")]
    is_loaded = document["is_under_load"]
    return [
        Entry(f"{percent:g} % planted" if percent else "HEAD against itself", percent),
        document["machine"]["device_name"],
        "a core kept busy" if is_loaded else "nothing else started",
        f"{found} {word} in {document['repeats']}",
        document["inconclusive"],
        Entry(f"{sign} {_bound(bound, percent > 0)} ({100 * document['confidence']:g} %)", bound),
        document["commit"][:10],
    ]


def _bound(rate: float, is_from_below: bool) -> str:
    """In per cent, rounded to the side on which it stays a bound."""
    whole = math.floor if is_from_below else math.ceil
    return f"{whole(1000 * rate) / 10:.1f} %"
