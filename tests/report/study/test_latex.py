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
from report.study.exports import paper_table

COMPILER = shutil.which("pdflatex") or shutil.which("tectonic")
pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(
        COMPILER is None,
        reason="needs pdflatex or tectonic (apt-get install texlive-latex-recommended)",
    ),
]
OVERFULL = "Overfull \\hbox"


ARTICLE = r"""\documentclass%s{article}
\usepackage{booktabs,graphicx}
\begin{document}
Text before. \input{table}
\end{document}
"""


def compiled(table: Table, folder: Path, options: str = "") -> str:
    """What the compiler said of an article with the table, which it turned into a PDF."""
    (folder / "table.tex").write_text(written(table, "tex"))
    (folder / "article.tex").write_text(ARTICLE % options)
    is_tectonic = COMPILER.endswith("tectonic")
    flags = [] if is_tectonic else ["-interaction=nonstopmode", "-halt-on-error"]
    command = [COMPILER, *flags, "article.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert (folder / "article.pdf").read_bytes().startswith(b"%PDF")
    return said


def test_every_special_character_compiles(tmp_path: Path) -> None:
    text = "a<b> & 50% $x_1$ #{y} ~^\\ | *z* ü " + " ".join(map(chr, LATEX))
    entries = (Entry(text, text), Entry("−1 ± 2", -1.0, True))
    compiled(Table("t", text, (text, "n"), (entries,), (text,)), tmp_path)


@pytest.mark.parametrize("columns", [(), ("elbo_nats", "nll_nats", "psnr_db", "rate_nats")])
@pytest.mark.parametrize("options", ["", "[twocolumn]"])
def test_the_table_of_a_study_fits_one_and_two_columns_of_an_article(
    columns: tuple[str, ...], options: str, full_study: Study, tmp_path: Path
) -> None:
    assert OVERFULL not in compiled(paper_table(full_study, columns), tmp_path, options)


def test_a_table_without_rows_compiles(store: Store, tmp_path: Path) -> None:
    compiled(paper_table(study_of(store, Design("none", "", ()))), tmp_path)
