"""A table of finished texts → HTML, LaTeX, Markdown: the writers only escape."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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


@dataclass(frozen=True)
class Table:
    """A table ready to be escaped into any format."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()


def frame_table(frame: pd.DataFrame, name: str, caption: str, notes: Sequence[str] = ()) -> Table:
    """A frame of finished texts and numbers as a table, its columns the headings."""
    rows = tuple(
        tuple(v if isinstance(v, Entry) else Entry(str(v), _order(v)) for v in row)
        for row in frame.itertuples(index=False, name=None)
    )
    return Table(name, caption, tuple(map(str, frame.columns)), rows, tuple(notes))


def _order(value: Any) -> float | str:
    return value if isinstance(value, int | float) else str(value)


def to_html(table: Table) -> str:
    """A `<table>` with caption, scoped headings and a sort key per entry."""
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in table.headings)
    body = "\n".join("<tr>" + "".join(map(_html_entry, row)) + "</tr>" for row in table.rows)
    caption = html.escape(table.caption)
    return (
        f'<table id="{html.escape(table.name)}"><caption>{caption}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def _html_entry(entry: Entry) -> str:
    text = html.escape(entry.text)
    is_number = not isinstance(entry.order, str)
    order = "" if is_number and math.isnan(float(entry.order)) else html.escape(str(entry.order))
    is_long = is_number and len(entry.text) > LONG_NUMBER
    kind = (
        "number long"
        if is_long
        else "number"
        if is_number
        else "wide"
        if len(entry.text) > WIDE_TEXT
        else ""
    )
    kind = f' class="{kind}"' if kind else ""
    inner = f"<strong>{text}</strong>" if entry.is_bold else text
    return f'<td{kind} data-order="{order}">{inner}</td>'


def to_markdown(table: Table) -> str:
    """A GitHub table with its caption above and its notes below."""
    lines = [_markdown_row([escape_markdown(h) for h in table.headings])]
    numeric = [not isinstance(entry.order, str) for entry in table.rows[0]] if table.rows else []
    marks = [":---" if not is_number else "---:" for is_number in numeric]
    lines.append(_markdown_row(marks or [":---"] * len(table.headings)))
    for row in table.rows:
        texts = [(escape_markdown(entry.text), entry.is_bold) for entry in row]
        lines.append(_markdown_row([f"**{text}**" if bold else text for text, bold in texts]))
    notes = "".join(f"\n{escape_markdown(note)}\n" for note in table.notes)
    return f"{escape_markdown(table.caption)}\n\n" + "\n".join(lines) + "\n" + notes


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def escape_markdown(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", text).replace("\n", " ")


def to_latex(table: Table) -> str:
    """A document that compiles as it is; the part from `longtable` on may be pasted elsewhere."""
    columns = "".join("l" if _is_text(table, i) else "r" for i in range(len(table.headings)))
    head = " & ".join(escape_latex(h) for h in table.headings)
    body = "\n".join(" & ".join(map(_latex_entry, row)) + r" \\" for row in table.rows)
    notes = "\n".join(rf"\noindent {escape_latex(note)}\par" for note in table.notes)
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[a3paper,landscape,margin=1cm]{geometry}",
            r"\usepackage{booktabs,longtable}",
            r"\begin{document}",
            r"\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\begin{{longtable}}{{{columns}}}",
            rf"\caption{{{escape_latex(table.caption)}}}\\",
            rf"\toprule {head} \\ \midrule \endhead",
            r"\bottomrule \endfoot",
            body,
            r"\end{longtable}",
            notes,
            r"\end{document}",
            "",
        ]
    )


def _is_text(table: Table, column: int) -> bool:
    return bool(table.rows) and isinstance(table.rows[0][column].order, str)


def _latex_entry(entry: Entry) -> str:
    text = escape_latex(entry.text)
    return rf"\textbf{{\boldmath {text}}}" if entry.is_bold else text


def escape_latex(text: str) -> str:
    """ASCII that LaTeX prints as `text`; a character it has no name for becomes `?`."""
    mapped = "".join(LATEX.get(character, character) for character in text)
    return mapped.encode("ascii", "replace").decode().replace("\n", " ")
