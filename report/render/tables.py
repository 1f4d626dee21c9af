"""A table of finished texts → HTML, LaTeX, Markdown: the templates only lay out and escape."""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hvae.text import visible
from report.render.numbers import ABSENT
from report.render.output import templates

GREEK = "αβγδεζηθικλμνξπρσςτυφχψωΓΔΘΛΞΠΣΦΨΩ"
GREEK_NAMES = (
    r"\alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \pi "
    r"\rho \sigma \varsigma \tau \upsilon \phi \chi \psi \omega "
    r"\Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega"
)
ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327", "`'^~\"rvc", strict=True))
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_"}
    | {a: f"${name}$" for a, name in zip(GREEK, GREEK_NAMES.split(), strict=True)}
    | {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",  # BibTeX counts a brace behind a backslash, too
        "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        "[": "{[}",  # after the end of a row it would begin an option of it, as would a star
        "*": "{*}",
        '"': "''",
        "−": "$-$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "≥": r"$\ge$",
        "–": "--",
        "→": r"$\to$",
        "·": r"$\cdot$",
        "≤": r"$\le$",
        "≈": r"$\approx$",
        "∞": r"$\infty$",
        "²": "$^2$",
        "³": "$^3$",
        "…": r"\ldots{}",
        "\n": " ",
        "\t": " ",
    }
)
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#&~$@])")  # also entities, GitHub's formulas and names
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins like this a spreadsheet computes


@dataclass(frozen=True)
class Entry:
    """One entry of a table: what is shown, and what it sorts by."""

    text: str
    order: float | str
    is_bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table ready to be escaped into any format."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    places: int = 0  # leading columns that name a row
    constants: str = ""  # what every row has in common, in a sentence

    @property
    def every_note(self) -> tuple[str, ...]:
        """What stands below it, its constants first."""
        return (self.constants, *self.notes) if self.constants else self.notes

    @property
    def first(self) -> tuple[Entry, ...]:
        """The row by which every column is aligned; texts where there is none."""
        return self.rows[0] if self.rows else tuple(Entry(h, h) for h in self.headings)


def table(
    name: str,
    caption: str,
    headings: Iterable[str],
    rows: Iterable[Iterable[object]],
    notes: Sequence[str] = (),
    places: int = 0,
) -> Table:
    """A table in which what is no entry stands for its own: a number, or a text."""
    entries = tuple(tuple(map(_entry, row)) for row in rows)
    return Table(name, caption, tuple(headings), entries, tuple(notes), places)


def _entry(value: object) -> Entry:
    if isinstance(value, Entry):
        return value
    return Entry(str(value), value if isinstance(value, int | float) else str(value))


def number(value: float, text: str) -> Entry:
    """A number as its text; a dash where it is none."""
    return Entry(ABSENT if math.isnan(value) else text, value)


def written(table: Table, kind: str) -> str:
    """The table by its template: `html`, a `<table>` with a sort key per entry; `md`, a GitHub
    table; `tex`, a float for any document, never wider than its column."""
    known = templates(tex=escape_latex, md=escape_markdown)
    return known.get_template(f"table.{kind}.j2").render(table=table)


def escape_markdown(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", visible(text)).replace("\n", " ")


def escape_latex(text: str) -> str:
    """ASCII that LaTeX prints as `text`; a character it has no name for becomes `?`."""
    known = "".join(map(_accented, visible(text).translate(LATEX)))
    return known.encode("ascii", "replace").decode()


def _accented(character: str) -> str:
    """`é` as its letter below its accent."""
    parts = unicodedata.normalize("NFD", character)
    is_known = len(parts) == 2 and parts[1] in ACCENTS
    return rf"\{ACCENTS[parts[1]]}{{{parts[0]}}}" if is_known else character


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as a CSV file in which no text is a formula: an apostrophe says that it is text."""
    safe = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            safe[name] = frame[name].astype(object).map(_csv_entry)
    return safe.to_csv(index=False, lineterminator="\n").encode()


def _csv_entry(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(FORMULA) else text
