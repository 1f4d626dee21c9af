"""What others give is text, whatever is in it: names, questions, reasons, in every output."""

import dataclasses
import re
import warnings
from pathlib import Path

import pytest
from builders import SOURCES, design, leave_out_layout, record, study_of, write_pictures
from markup import Elements

from hvae.records.standings import survey
from hvae.records.store import Store
from hvae.settings import digest
from report.data.design import Design
from report.render.drawing import image
from report.study.figures.effects import effects
from report.study.writer import write_report

MARK = "<script>alert(1)</script>"
NAMES = (
    "$\\frac$ $x_1$",  # no formula of matplotlib or LaTeX
    f"{MARK} & &amp;",
    "_hidden [2pt] *a* `b` | c",  # no name of matplotlib's own, no option of a row
    "=cmd|' /C calc'!A0",
    "漢字 \\input{x} %",
    "variant x",
)
ACTING = "\x1b[31m\u202e\x00\x07"
QUESTION = f"{MARK} {ACTING} ${{jndi}} `rm -rf` $(rm)\n\\begin{{x}}"


@pytest.fixture(scope="module")
def nasty() -> Design:
    weights = (1.0, 0.5, 2.0, 3.0, 4.0, 5.0)
    variants = {n: {"train.kl_weight": w} for n, w in zip(NAMES, weights, strict=True)}
    asked = design({"depth": (1, 2)}, variants, seeds=1)
    return dataclasses.replace(asked, question=QUESTION)


@pytest.fixture(scope="module")
def files(nasty: Design, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All outputs of a study with such names; one run failed with such words, one is damaged."""
    store = Store(tmp_path_factory.mktemp("nasty"))
    store.open_for_writing()
    store.write_failure(nasty.runs[0], RuntimeError(QUESTION))
    store.path(digest(nasty.runs[1])).write_bytes(b"{")
    environment = {"python": QUESTION, "device_name": MARK, "flags": {MARK: ACTING}}
    for run in nasty.runs[2:]:
        store.write(dataclasses.replace(record(run), environment=environment))
        write_pictures(store, run)
    standings = survey(store, nasty.runs, SOURCES)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        leave_out_layout(patch)
        warnings.simplefilter("error")  # a letter that no font has is worth no line
        folder = store.folder / "report"
        return write_report(nasty, standings, store, folder, ("html", "latex", "csv", "md"))


def test_a_figure_is_drawn_whatever_its_words_are(files: list[Path], nasty: Design) -> None:
    study = study_of(Store(files[0].parent.parent), nasty)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = effects(study, study.factors[-1])
        assert image(drawing, "pdf").startswith(b"%PDF")  # a PNG has the same letters


def test_the_page_has_only_its_own_elements_and_shows_every_name(files: list[Path]) -> None:
    page = files[0].read_text()
    assert MARK not in page
    assert page.count("<script") == 1
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    for escaped in ("$\\frac$ $x_1$", "&lt;script&gt;", "_hidden [2pt] *a*", "漢字", "variant x"):
        texts = re.findall(rf"<text[^>]*>[^<]*{re.escape(escaped)}", page)
        assert texts, f"no figure shows {escaped}"
        assert page.count(escaped) > len(texts)
    assert "\\x1b[31m\\u202e\\x00\\x07" in page


def test_no_text_output_holds_what_acts_on_who_reads_it(files: list[Path]) -> None:
    for path in files:
        if path.suffix in (".html", ".tex", ".md", ".csv"):
            assert not set(path.read_text()) & set(ACTING.replace("[31m", "")), path
            assert ",=cmd" not in path.read_text(), path
