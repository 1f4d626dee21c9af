"""A table of finished texts → HTML, LaTeX, Markdown: the templates only lay out and escape."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from report.render.output import templates

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≥": r"$\ge$",
    "–": "--",
    "→": r"$\to$",
    "·": r"$\cdot$",
    "Δ": r"$\Delta$",
}
WIDE_TEXT, LONG_NUMBER = 60, 24  # characters; longer entries wrap
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")


@dataclass(frozen=True)
class Entry:
    """One entry of a table: what is shown, and what it sorts by."""

    text: str
    order: float | str
    is_bold: bool = False

    @property
    def is_number(self) -> bool:
        return not isinstance(self.order, str)

    @property
    def sort_key(self) -> str:
        """Empty for what is no number: it stands last, whatever the direction."""
        is_nan = isinstance(self.order, float) and math.isnan(self.order)
        return "" if is_nan else str(self.order)

    @property
    def kind(self) -> str:
        """The classes of a cell: how it is aligned, and whether it wraps."""
        if self.is_number:
            return "number long" if len(self.text) > LONG_NUMBER else "number"
        return "wide" if len(self.text) > WIDE_TEXT else ""


@dataclass(frozen=True)
class Table:
    """A table ready to be escaped into any format."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def are_numbers(self) -> list[bool]:
        """Whether each column is aligned as numbers."""
        first = self.rows[0] if self.rows else ()
        return [entry.is_number for entry in first] or [False] * len(self.headings)


def frame_table(frame: pd.DataFrame, name: str, caption: str, notes: Sequence[str] = ()) -> Table:
    """A frame of finished texts and numbers as a table, its columns the headings."""
    rows = tuple(
        tuple(v if isinstance(v, Entry) else Entry(str(v), _order(v)) for v in row)
        for row in frame.itertuples(index=False, name=None)
    )
    return Table(name, caption, tuple(map(str, frame.columns)), rows, tuple(notes))


def _order(value: Any) -> float | str:
    return value if isinstance(value, int | float) else str(value)


def written(table: Table, kind: str) -> str:
    """The table by its template: `html`, a `<table>` with a sort key per entry; `md`, a GitHub
    table; `tex`, a document that compiles as it is, whose `longtable` may be pasted elsewhere."""
    found = templates()
    found.filters |= {"tex": escape_latex, "md": escape_markdown}
    return found.get_template(f"table.{kind}.j2").render(table=table)


def escape_markdown(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text).replace("\n", " ")


def escape_latex(text: str) -> str:
    """ASCII that LaTeX prints as `text`; a character it has no name for becomes `?`."""
    mapped = "".join(LATEX.get(character, character) for character in text)
    return mapped.encode("ascii", "replace").decode().replace("\n", " ")
