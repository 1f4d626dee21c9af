"""The whole report, from any state of the records."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest
from builders import design, filled, leave_out_layout, record, report_of, study_of, write_pictures
from markup import Elements

from hvae.config import RunConfig
from hvae.records.store import Store
from hvae.settings import digest, override
from report.data.design import Design
from report.data.frames import Study
from report.render.drawing import PAPER
from report.study import writer
from report.study.figures.quality import loss_curves
from report.study.writer import FORMATS, Figure, drawn_meanwhile, write_report


def whole(store: Store, asked: Design, *formats: str) -> str:
    """The page, without line breaks."""
    return report_of(store, asked, *(formats or ("html",)))[0].read_text().replace("\n", " ")


@pytest.mark.usefixtures("no_layout")
def test_every_file_is_written_and_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one figure: those of every study are with the real records."""
    monkeypatch.setattr(writer, "figures", lambda study: [loss_curves])
    asked = design({"depth": (1, 2)}, seeds=1)
    filled(store, asked)
    for run in asked.runs:
        write_pictures(store, run)
    paths = report_of(store, asked, *FORMATS)
    names = ["index.html", "cells.tex", "cells.md", "cells.csv", "runs.csv", "contrasts.csv"]
    names += ["levels.csv", "curves.csv", "history.csv"]
    assert [p.name for p in paths[:9]] == names
    assert all(path.stat().st_size for path in paths)
    figures = {path.name for path in paths[9:]}
    assert {"pictures.png", "pictures.pdf"} <= figures
    for name, inches in (
        ("loss-curves.pdf", PAPER["pdf"]),
        ("loss-curves.column.pdf", PAPER["column.pdf"]),
    ):
        content = (paths[0].parent / "figures" / name).read_bytes()
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
        assert 0.5 * inches < float(box) / 72 <= inches + 0.01
    assert not list(store.folder.rglob(".partial-*"))
    runs = pd.read_csv(paths[4])
    assert runs.groupby("key").size().index.tolist() == sorted(map(digest, asked.runs))
    elbo = runs[(runs["metric"] == "elbo_nats")].set_index("key")["value"]
    assert elbo[digest(asked.runs[0])] == record(asked.runs[0]).metrics["elbo_nats"]


DRAWING = """
import os, time
from report.study.writer import Figure, drawn_meanwhile

def draw(study):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece, also where output is unbuffered
    time.sleep(60)

with drawn_meanwhile([Figure(draw, None, ())] * 2, 2):
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="figures are drawn one by one there")
def test_no_fork_outlives_a_report_that_is_killed() -> None:
    command = [sys.executable, "-c", DRAWING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        forks = {int(process.stdout.readline()) for _ in range(2)}
        assert len(forks) == 2
        assert process.pid not in forks
        process.kill()
        try:
            assert process.communicate(timeout=50)[0] == ""  # ends once no fork holds it
        finally:
            for fork in forks:
                with suppress(ProcessLookupError):
                    os.kill(fork, signal.SIGKILL)


def draw_nothing(study: Study) -> None:
    """Of no data there is no figure."""


@pytest.mark.skipif(sys.platform != "linux", reason="figures are drawn one by one there")
def test_that_a_process_with_threads_is_forked_is_no_news(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.12 warns of it, and so does JAX."""
    forked, fork = [], os.fork

    def warning() -> int:
        warnings.warn("use of fork() may lead to deadlocks", DeprecationWarning, stacklevel=2)
        forked.append(True)
        return fork()

    monkeypatch.setattr(os, "fork", warning)
    study = study_of(store, design({"depth": (1, 2)}, seeds=1))
    with drawn_meanwhile([Figure(draw_nothing, study, ())], 2) as found:
        assert list(found) == [None]
    assert forked


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of six finished runs with pictures."""
    store = Store(tmp_path_factory.mktemp("study"))
    store.open_for_writing()
    asked = design({"depth": (1, 2)})
    filled(store, asked)
    for run in asked.runs:
        write_pictures(store, run)
    with pytest.MonkeyPatch.context() as patch:
        leave_out_layout(patch)
        return whole(store, asked)


def test_the_page_is_whole_and_asks_for_nothing_outside(page: str) -> None:
    parser = Elements()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(address.startswith(("#", "data:")) for address in parser.addresses)
    assert {address[1:] for address in parser.addresses if address[0] == "#"} <= set(parser.ids)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "<h1>A &amp; B</h1>" in page
    assert "Does &lt;depth&gt; help?" in page


def test_the_order_is_answer_table_figures_pictures_findings_details_making(page: str) -> None:
    sections = ("answer", "headline", "figures", "pictures", "findings", "details", "how")
    sections += ("glossary", "cite")
    order = [page.index(f'<section id="{name}"') for name in sections]
    assert order == sorted(order)
    question, forest = (
        page.index("Does &lt;depth&gt; help?"),
        page.index('<figure id="figure-forest'),
    )
    assert order[0] < question < forest < order[1]
    how = page[order[-3] :]
    for made in ("git commit", "data SHA-256", "Python", "device name", "cost of all runs"):
        assert made in how
    assert len(re.findall("<img ", page)) == 2 * 4


def test_the_page_says_what_was_trained_and_how(page: str) -> None:
    (said,) = re.findall(r'</h1> <p class="note">(.*?)</p>', page)
    assert said.startswith("digits, 1,437 images of 8 × 8 to train on, 360 to test; grey levels; ")
    assert (
        "4 epochs; batches of 64; Adam at 0.001; 3 seeds; NLL by S = 1,000 draws"
        in said.replace("\xa0", " ")
    )
    assert "depth" not in said


@pytest.mark.usefixtures("no_layout")
def test_the_same_records_give_the_same_bytes_wherever_they_lie(store: Store) -> None:
    asked = design({"depth": (2,)}, seeds=2)
    contents = []
    for place, order in (("one", asked.runs), ("elsewhere", asked.runs[::-1])):
        at = Store(store.folder / place)
        at.open_for_writing()
        for run in order:
            at.write(record(run))
            write_pictures(at, run)
        at.path(digest(asked.runs[0])).write_text("{")
        paths = report_of(at, asked, "html", "latex", "csv", "md")
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert str(store.folder).encode() not in b"".join(contents[0])


@pytest.mark.slow
def test_the_page_of_the_standard_study_is_under_two_megabytes(store: Store) -> None:
    axes = {"depth": (1, 2, 3, 4), "loss": ("bce", "mse"), "latent": (2, 5, 10, 20, 50)}
    mnist = override(RunConfig(), {"train.epochs": 30})
    asked = design(axes, seeds=5, base=mnist)
    filled(store, asked)
    for run in asked.runs:
        if run.train.seed == 0:
            write_pictures(store, run)
    page = whole(store, asked)
    assert len(asked.runs) == 200
    assert page.count("<img ") == 40 * 4
    assert len(page.encode()) < 2_000_000


STATES = {
    "nothing": "This study expects no run.",
    "missing": "0 of 1 (1 missing)",
    "failed": "RuntimeError: out of &lt;memory&gt;",
    "diverged": "1 diverged: left out of every mean; the loss curves show each as long as its",
    "lost at once": ">1 diverged: left out of every mean.<",
    "one": "No finding: n\xa0=\xa01",
    "bare": "No finding: n\xa0=\xa01",
}
BARE: dict[str, Any] = {"history": [], "metrics": {}, "throughput": {}, "seconds": {}}
CHANGES: dict[str, dict[str, Any]] = {
    "diverged": {"status": "diverged", "metrics": {"elbo_nats": None}},
    "lost at once": {**BARE, "status": "diverged"},
    "one": {},
    "bare": {**BARE, "environment": {}, "code": {}},
}


@pytest.mark.usefixtures("no_layout")
@pytest.mark.parametrize("state", STATES)
def test_a_thin_study_gets_a_page_that_says_so(store: Store, state: str) -> None:
    asked = Design("none", "", ()) if state == "nothing" else design({"depth": (2,)}, seeds=1)
    if state == "failed":
        store.write_failure(asked.runs[0], RuntimeError("out of <memory>"))
    elif state in CHANGES:
        filled(store, asked, lambda run: CHANGES[state])
    page = whole(store, asked, "html", "latex", "csv", "md")
    assert STATES[state] in page
    has_curves = state in ("one", "diverged")
    assert ("<svg" in page) == has_curves  # no axis without data, nor a heading above none
    assert ('id="figures"' in page) == has_curves
    is_whole = state in ("one", "bare")
    assert ("Every run of the study finished" in page) == is_whole
    assert ("Runs without numbers" in page) == (not is_whole and state != "nothing")


@pytest.mark.usefixtures("no_layout")
def test_one_seed_gives_figures_without_intervals_and_no_finding(store: Store) -> None:
    asked = design({"depth": (1, 2)}, seeds=1)
    filled(store, asked)
    page = whole(store, asked)
    assert "No finding: n\xa0=\xa01, and nothing is claimed from fewer than 3" in page
    assert "Holm p" not in page.split('id="answer"')[1].split("<figure")[0]
    assert "(n\xa0=\xa01); one run has no interval." in page
    assert "\xa0±\xa0" not in page
    assert 'id="figure-nll_nats-depth"' in page


@pytest.mark.usefixtures("no_figures")
def test_a_record_of_a_newer_schema_is_left_out_and_named(store: Store) -> None:
    asked = design({"depth": (1,)})
    newer = asked.runs[2]
    filled(store, asked, lambda run: {"schema": 2 if run == newer else 1})
    page = whole(store, asked)
    assert f"1 damaged, left out of everything; the first: runs/{digest(newer)}.json" in page
    assert "schema 2 was written by a newer hvae; this one reads up to 1" in page
    assert "2 of 3 (1 damaged)" in page


@pytest.mark.usefixtures("no_figures")
def test_records_of_different_sources_are_pointed_out(store: Store) -> None:
    asked = design({"depth": (1,)}, seeds=2)
    first, second = (record(run) for run in asked.runs)
    store.write(first)
    other = {"code": {"sources_sha256": "0" * 64}, "data_sha256": "1" * 64}
    store.write(dataclasses.replace(second, **other))
    page = whole(store, asked)
    assert "different hvae sources" in page
    assert "different data files" in page
    assert "1 of 2 records is stale" in " ".join(page.split())
    more = design({"depth": (1,)}, seeds=3)  # of whose last run there is no record
    assert "1 of 2 records is stale" in " ".join(whole(store, more).split())


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("failed", "seeds", "told"),
    [([1], 2, "1 failed"), ([], 2, "1 missing"), ([1], 3, "1 failed and 1 missing")],
)
def test_what_is_not_in_the_means_is_counted(
    store: Store, failed: list[int], seeds: int, told: str
) -> None:
    """Runs without a record, and records that nobody asked for."""
    asked, others = design({"depth": (1,)}, seeds=seeds), design({"depth": (2,)}, seeds=2)
    for run in (asked.runs[0], *others.runs):
        store.write(record(run))
    for seed in failed:
        store.write_failure(asked.runs[seed], RuntimeError("out of memory"))
    page = whole(store, asked)
    assert f">{told}: every mean is over the finished runs only.<" in page
    assert ">Records in the folder that belong to no expected run: 2.<" in page


@pytest.mark.usefixtures("no_figures")
def test_what_no_metric_can_judge_is_said_and_not_compared(store: Store) -> None:
    asked = design({"data.name": ("mnist", "kmnist")})
    filled(store, asked)
    page = whole(store, asked)
    assert "MNIST → KMNIST is not compared" in page
    assert "What changes with the data?" not in page


def test_bad_formats_and_folders_are_named(store: Store) -> None:
    nothing = Design("none", "", ())
    with pytest.raises(ValueError, match=r"format: 'docx' is not allowed; allowed: html, latex"):
        write_report(nothing, [], store, store.folder, ("docx",))
    (store.folder / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write under"):
        write_report(nothing, [], store, store.folder / "file", ("md",))
