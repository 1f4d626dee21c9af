"""Escaping: a text means the same in every format."""

import pandas as pd
import pytest

from report.render.tables import Entry, Table, csv, escape_latex, written

NASTY = "a<b> & 50% $x_1$ #{y} ~^\\ | *z* −1 ± 2"
TABLE = Table("nasty", NASTY, (NASTY, "n"), ((Entry(NASTY, NASTY), Entry("1", 1, True)),), (NASTY,))


def test_html_escapes_markup_and_marks_bold_and_numbers() -> None:
    page = written(TABLE, "html")
    assert "a&lt;b&gt; &amp; 50%" in page
    assert "<b>" not in page
    assert '<td class="number"><strong>1</strong></td>' in page  # it sorts by what it shows


def test_markdown_escapes_what_would_break_the_row() -> None:
    text = written(TABLE, "md")
    assert r"a\<b\> \& 50% \$x\_1\$ \#\{y\} \~^\\ \| \*z\* −1 ± 2" in text
    assert "**1**" in text


def test_latex_escapes_every_special_character() -> None:
    text = written(TABLE, "tex")
    braces = r"\#\textbraceleft{}y\textbraceright{}"
    signs = r"\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert rf"50\% \$x\_1\$ {braces} {signs}" in text
    assert text.isascii()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text


def test_latex_has_the_letters_of_greek_and_of_accents() -> None:
    said = r"$\beta$ = 1, $\Delta$ $\le$ $\lambda$$^2$, \'{e}\"{U}\c{c}, ?"
    assert escape_latex("β = 1, Δ ≤ λ², éÜç, 漢") == said


def test_columns_are_aligned_as_their_first_row_and_no_row_is_no_error() -> None:
    assert "| :--- | ---: |" in written(TABLE, "md")
    assert r"\begin{tabular}{lr}" in written(TABLE, "tex")
    empty = Table("empty", "Nothing", ("a", "b"), ())
    assert r"\begin{tabular}{ll}" in written(empty, "tex")
    assert written(empty, "md") == "Nothing\n\n| a | b |\n| :--- | :--- |\n"


def test_what_is_no_number_sorts_last_and_long_entries_wrap() -> None:
    row = (Entry("–", float("nan")), Entry("1" * 25, 1), Entry("x" * 61, "x"))
    page = written(Table("t", "", ("a", "b", "c"), (row,)), "html")
    assert '<td class="number" data-order="">–</td>' in page
    assert 'class="number long"' in page
    assert 'class="wide"' in page


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_csv_file_is_a_formula(begin: str) -> None:
    text = f"{begin}cmd|' /C calc'!A0"
    frame = pd.DataFrame({"text": [text, "a"], "kind": pd.Categorical([text, "a"]), "n": [-1, 2]})
    first, second = csv(frame).decode().splitlines()[1:]
    assert not first.startswith(begin)
    assert f",{begin}c" not in first
    assert "cmd|' /C calc'!A0" in first
    assert first.endswith(",-1")  # a number is one
    assert second == "a,a,2"


def test_a_row_that_begins_like_an_option_of_the_row_before_is_none() -> None:
    assert escape_latex("[1pt] *x* <a|b>") == (
        r"{[}1pt] {*}x{*} \textless{}a\textbar{}b\textgreater{}"
    )


@pytest.mark.parametrize("kind", ["html", "md", "tex"])
def test_what_acts_on_who_shows_it_stands_as_its_escape(kind: str) -> None:
    nasty = "a\x1b[31m\u202eb\x00c"
    text = written(Table("t", nasty, (nasty,), ((Entry(nasty, nasty),),)), kind)
    assert not set(text) & set("\x1b\u202e\x00")
    assert "x1b" in text
    assert "u202e" in text
