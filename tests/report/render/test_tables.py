"""Escaping: a text means the same in every format."""

from report.render.tables import Entry, Table, to_html, to_latex, to_markdown

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
