"""Comparisons as text, Markdown, JSON and a page; the same records give the same bytes."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvae.settings import digest
from hvae.text import visible
from report.comparison.answer import answer, notices, sides
from report.comparison.differences import Comparison
from report.comparison.figure import forest
from report.comparison.tables import differences_table, facts_table, ratios_table
from report.render.drawing import Picture, picture
from report.render.output import templates, write_files
from report.render.policy import page_inline
from report.render.tables import Table, escape_markdown, written
from report.study.contrast_tables import contrast_table

TITLE = "{}: B against A"
FILES = {"html": "compare.html", "md": "compare.md"}
WIDTH = 100  # letters of a note


@dataclass(frozen=True)
class Section:
    """One study as a reader sees it: `tables` answer, `made` and `details` stand behind them."""

    title: str
    sides: Sequence[str]
    answer: Sequence[str]
    notices: Sequence[str]
    tables: Sequence[Table]
    made: Table
    details: Table


def sections(comparisons: Iterable[Comparison]) -> list[Section]:
    """A section for each comparison; its tables are named by its number."""
    return [_section(one, number) for number, one in enumerate(comparisons, start=1)]


def _section(one: Comparison, number: int) -> Section:
    tables = differences_table(one, f"cells-{number}"), ratios_table(one, f"seconds-{number}")
    families = () if one.is_unchanged else one.families.values()
    return Section(
        TITLE.format(one.pairing.name),
        sides(one),
        answer(one),
        notices(one),
        [table for table in tables if table.rows],
        facts_table(one.facts, len(one.pairing.pairs), f"made-{number}"),
        contrast_table(
            f"all-{number}", "Every difference in full", families, "the cells of a metric"
        ),
    )


def text(comparisons: Sequence[Comparison], others: Sequence[str]) -> str:
    """For a terminal: words, then tables whose columns stand under each other."""
    parts = [_alone(others)]
    for part in sections(comparisons):
        words = [part.title, *part.sides, *part.answer, *part.notices]
        parts += ["\n".join(map(_line, words)), *map(_aligned, part.tables)]
    return "\n\n".join(filter(None, parts))


def markdown(comparisons: Sequence[Comparison], others: Sequence[str]) -> str:
    """For a pull request: words, tables, and how the records were made."""
    parts = [escape_markdown(_alone(others))]
    for part in sections(comparisons):
        lists = [[f"- {escape_markdown(line)}" for line in part.sides]]
        lists += [[escape_markdown(line)] for line in (" ".join(part.answer), *part.notices)]
        parts += [f"## {escape_markdown(part.title)}", *("\n".join(lines) for lines in lists)]
        parts += [written(made, "md").strip() for made in (*part.tables, part.made)]
    return "\n\n".join(filter(None, parts)) + "\n"


def page(comparisons: Sequence[Comparison], others: Sequence[str]) -> str:
    """One HTML page without outside requests."""
    parts = sections(comparisons)
    pictures = [_picture(one, i) for i, one in enumerate(comparisons, start=1)]
    held = page_inline(one for one in pictures if one)
    title = parts[0].title if len(parts) == 1 else f"{len(parts)} studies: B against A"
    pairs = list(zip(parts, pictures, strict=True))
    template = templates().get_template("comparison.html.j2")
    return template.render(title=title, sections=pairs, others=others, inline=held)


def _picture(comparison: Comparison, number: int) -> Picture | None:
    family = () if comparison.is_unchanged else next(iter(comparison.families.values()), ())
    drawing = forest(family, f"differences-{number}")
    return None if drawing is None else picture(drawing, ["svg"])


def write_comparison(
    comparisons: Sequence[Comparison], others: Sequence[str], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Write `compare.html` and `compare.md`, those of `formats`; the paths written, the page first.
    Raises `ValueError` where the folder cannot be written."""
    write = {"html": page, "md": markdown}
    wanted = [kind for kind in FILES if kind in formats]
    return write_files(
        folder, {FILES[kind]: write[kind](comparisons, others).encode() for kind in wanted}
    )


def document(comparison: Comparison) -> dict[str, Any]:
    """All numbers of a comparison, ready for JSON; what is no number is null."""
    pairing = comparison.pairing
    return {
        "study": pairing.name,
        "a": str(pairing.stores[0].folder),
        "b": str(pairing.stores[1].folder),
        "answer": answer(comparison),
        "notices": notices(comparison),
        "pairs": len(pairing.pairs),
        "identical": comparison.identical,
        "alone": {s: list(map(digest, runs)) for s, runs in zip("ab", pairing.alone, strict=True)},
        "settings": {
            name: dict(zip("ab", held, strict=True)) for name, held in pairing.differing.items()
        },
        "cells": [
            {
                "cell": {factor.name: held for factor, held in contrast.held},
                "metric": metric.name,
                "n": contrast.estimate.n,
                "mean": _number(contrast.estimate.mean),
                "half_width": _number(contrast.estimate.half_width),
                "holm_p": _number(contrast.holm_p),
            }
            for metric, family in comparison.families.items()
            for contrast in family
        ],
        "ratios": [ratio._asdict() for ratio in comparison.ratios],
        "made": [fact._asdict() for fact in comparison.facts],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _alone(others: Sequence[str]) -> str:
    return f"Studies of one side only: {', '.join(others)}." if others else ""


def _line(words: str) -> str:
    return visible(" ".join(words.split()))


def _aligned(table: Table) -> str:
    """A table in columns, numbers to the right; a star stands for bold, notes below."""
    rows = [[_line(e.text) + "*" * e.is_bold for e in row] for row in table.rows]
    grid = [list(table.headings), *rows]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    sides = ["<" if isinstance(entry.order, str) else ">" for entry in table.first]
    lines = [
        "  ".join(f"{t:{s}{w}}" for t, s, w in zip(row, sides, widths, strict=True)).rstrip()
        for row in grid
    ]
    notes = [textwrap.fill(note, WIDTH) for note in table.notes]
    return "\n".join([table.caption, *lines, *notes])
