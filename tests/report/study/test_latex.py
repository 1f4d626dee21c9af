"""The LaTeX of a study compiles as it is, and prints what the table says."""

import shutil
import subprocess
from pathlib import Path

import pytest
from builders import study_of

from hvae.records.store import Store
from report.data.design import Design
from report.data.frames import Study
from report.render.tables import LATEX, Entry, Table, written
from report.study.page import detail_tables, headline_table

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
    (folder / "table.tex").write_text(written(table, "tex"))
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
    text = "a<b> & 50% $x_1$ #{y} ~^\\ | *z* ü " + " ".join(map(chr, LATEX))
    entries = (Entry(text, text), Entry("−1 ± 2", -1.0, True))
    compiled(Table("t", text, (text, "n"), (entries,), (text,)), tmp_path)


def test_the_headline_of_a_study_compiles_and_fits_its_page(
    full_study: Study, tmp_path: Path
) -> None:
    assert OVERFULL not in compiled(headline_table(full_study), tmp_path)


def test_a_table_without_rows_compiles(store: Store, tmp_path: Path) -> None:
    compiled(headline_table(study_of(store, Design("none", "", ()))), tmp_path)


def test_every_detail_compiles(full_study: Study, tmp_path: Path) -> None:
    for table in detail_tables(full_study):
        compiled(table, tmp_path)
