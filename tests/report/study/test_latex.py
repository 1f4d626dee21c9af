"""The LaTeX of a study compiles as it is, and prints what the table says."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import load
from report.render.tables import LATEX, Entry, Table, to_latex
from report.study.page import detail_tables, headline_table

Grid = Callable[..., list[RunConfig]]

COMPILER = shutil.which("pdflatex") or shutil.which("tectonic")
pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(
        COMPILER is None,
        reason="needs pdflatex or tectonic (apt-get install texlive-latex-recommended)",
    ),
]
OVERFULL = "Overfull \\hbox"


def compiled(table: Table, folder: Path) -> str:
    """What the compiler said of a table that it turned into a PDF."""
    (folder / "table.tex").write_text(to_latex(table))
    assert COMPILER is not None
    is_tectonic = COMPILER.endswith("tectonic")
    options = [] if is_tectonic else ["-interaction=nonstopmode", "-halt-on-error"]
    command = [COMPILER, *options, "table.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert (folder / "table.pdf").read_bytes().startswith(b"%PDF")
    return said


def test_every_special_character_compiles(tmp_path: Path) -> None:
    text = "a<b> & 50% $x_1$ #{y} ~^\\ | *z* ü " + " ".join(LATEX)
    entries = (Entry(text, text), Entry("−1 ± 2", -1.0, True))
    compiled(Table("t", text, (text, "n"), (entries,), (text,)), tmp_path)


def test_the_headline_of_a_study_compiles_and_fits_its_page(
    full_store: Store, make_grid: Grid, tmp_path: Path
) -> None:
    said = compiled(headline_table(load(full_store, make_grid())), tmp_path)
    assert OVERFULL not in said


def test_a_table_without_rows_compiles(store: Store, tmp_path: Path) -> None:
    compiled(headline_table(load(store, [])), tmp_path)


def test_every_detail_compiles(full_store: Store, make_grid: Grid, tmp_path: Path) -> None:
    for table in detail_tables(load(full_store, make_grid())):
        compiled(table, tmp_path)
