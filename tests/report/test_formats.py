"""Escaping: a text means the same in every format."""

import shutil
import subprocess
from pathlib import Path

import pytest

from report.formats import Entry, Table, to_html, to_latex, to_markdown

NASTY = "a<b> & 50% $x_1$ #{y} ~^\\ | *z* −1 ± 2"
TABLE = Table("nasty", NASTY, (NASTY, "n"), ((Entry(NASTY, NASTY), Entry("1", 1, True)),), (NASTY,))


def test_html_escapes_markup_and_marks_bold_and_numbers() -> None:
    page = to_html(TABLE)
    assert "a&lt;b&gt; &amp; 50%" in page
    assert "<b>" not in page
    assert '<td class="number" data-order="1"><strong>1</strong></td>' in page


def test_markdown_escapes_what_would_break_the_row() -> None:
    text = to_markdown(TABLE)
    assert r"a\<b\> & 50% $x\_1$ \#\{y\} ~^\\ \| \*z\* −1 ± 2" in text
    assert "**1**" in text


def test_latex_escapes_every_special_character() -> None:
    text = to_latex(TABLE)
    assert r"50\% \$x\_1\$ \#\{y\} \textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    assert text.isascii()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text


@pytest.mark.skipif(
    not shutil.which("pdflatex") and not shutil.which("tectonic"),
    reason="needs pdflatex or tectonic (apt-get install texlive-latex-recommended)",
)
def test_the_latex_compiles_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "cells.tex").write_text(to_latex(TABLE))
    compiler = shutil.which("tectonic") or "pdflatex"
    options = [] if "tectonic" in compiler else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [compiler, *options, "cells.tex"], cwd=tmp_path, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "cells.pdf").stat().st_size > 1000
