"""The whole report, from any state of the records."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from builders import grid, record, write_pictures
from markup import Elements

from hvae.config import DataConfig, RunConfig, digest
from hvae.records.store import Record, Store
from report.study.writer import write_report

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def write(configs: list[RunConfig], store: Store, folder: Path, *formats: str) -> str:
    write_report("A & B", "Does <depth> help?", configs, store, folder, formats or ("html",))
    return (folder / "index.html").read_text()


def test_every_file_is_written_and_listed(store: Store, make_grid: Grid, make_record: Make) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 1)
    for config in configs:
        store.write(make_record(config))
        write_pictures(store, config)
    formats = ("html", "latex", "csv", "md", "png", "pdf")
    paths = write_report("T", "Q", configs, store, store.folder / "report", formats)
    assert [p.name for p in paths[:5]] == [
        "index.html",
        "cells.tex",
        "cells.md",
        "cells.csv",
        "runs.csv",
    ]
    assert all(path.stat().st_size for path in paths)
    figures = {path.name for path in paths[5:]}
    assert {"pictures-bce.png", "pictures-bce.pdf", "loss-curves.pdf"} <= figures
    page = paths[0].read_text()
    for name in re.findall(r'<figure id="figure-([a-z_-]+)"', page):
        assert {f"{name}.png", f"{name}.pdf"} <= figures
    assert not list(store.folder.rglob(".partial-*"))
    runs = pd.read_csv(paths[4])
    assert runs.groupby("key").size().index.tolist() == sorted(map(digest, configs))
    elbo = runs[(runs["metric"] == "elbo_nats")].set_index("key")["value"]
    assert elbo[digest(configs[0])] == make_record(configs[0]).metrics["elbo_nats"]


@pytest.fixture(scope="module")
def whole_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of twelve finished runs with pictures."""
    store = Store(tmp_path_factory.mktemp("study"))
    store.open_for_writing()
    configs = grid((1, 2), latents=(20,))
    for config in configs:
        store.write(record(config))
        write_pictures(store, config)
    return write(configs, store, store.folder / "report")


def test_the_page_is_whole_and_asks_for_nothing_outside(whole_page: str) -> None:
    parser = Elements()
    parser.feed(whole_page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(address.startswith(("#", "data:")) for address in parser.addresses)
    assert {address[1:] for address in parser.addresses if address[0] == "#"} <= set(parser.ids)
    assert not re.search(r"@import|url\((?!#)", whole_page)
    assert "<h1>A &amp; B</h1>" in whole_page
    assert "Does &lt;depth&gt; help?" in whole_page


def test_the_same_records_give_the_same_bytes_wherever_they_lie(
    tmp_path: Path, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((2,), ("bce",), (20,), 2)
    pages = []
    for place, order in (("one", configs), ("elsewhere", configs[::-1])):
        store = Store(tmp_path / place)
        store.open_for_writing()
        for config in order:
            store.write(make_record(config))
            write_pictures(store, config)
        store.path(digest(configs[0])).write_text("{")
        formats = ("html", "latex", "csv", "md")
        paths = write_report("T", "Q", configs, store, tmp_path / place / "report", formats)
        pages.append([path.read_bytes() for path in paths])
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in b"".join(pages[0])


@pytest.mark.slow
def test_the_page_of_the_standard_study_is_under_three_megabytes(store: Store) -> None:
    configs = [
        dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, input_dim=784),
            train=dataclasses.replace(config.train, epochs=30),
            data=DataConfig(name="mnist"),
        )
        for config in grid((1, 2, 3, 4), latents=(2, 5, 10, 20, 50), seeds=5)
    ]
    for config in configs:
        store.write(record(config))
        if config.train.seed == 0:
            write_pictures(store, config)
    page = write(configs, store, store.folder / "report")
    assert len(configs) == 200
    assert page.count("<img ") == 40 * 3
    assert len(page.encode()) < 3_000_000


STATES = {
    "nothing": "This study expects no run.",
    "missing": "0 of 1 (1 missing)",
    "failed": "RuntimeError: out of &lt;memory&gt;",
    "diverged": "1 diverged: shown in the loss curves, left out of every mean.",
    "one": "No finding: n\xa0=\xa01",
    "bare": "No finding: n\xa0=\xa01",
}


@pytest.mark.parametrize("state", STATES)
def test_a_thin_study_gets_a_page_that_says_so(
    store: Store, make_grid: Grid, make_record: Make, state: str
) -> None:
    configs = [] if state == "nothing" else make_grid((2,), ("bce",), (20,), 1)
    for config in configs:
        if state == "failed":
            store.write_failure(config, RuntimeError("out of <memory>"))
        elif state == "diverged":
            none = {"elbo_nats": None}
            store.write(make_record(config, status="diverged", metrics=none))
        elif state == "one":
            store.write(make_record(config))
        elif state == "bare":
            bare: dict[str, Any] = {"history": [], "metrics": {}, "throughput": {}, "seconds": {}}
            store.write(make_record(config, **bare, environment={}, code={}))
    formats = ("html", "latex", "csv", "md")
    page = write(configs, store, store.folder / "report", *formats)
    assert STATES[state] in page
    has_curves = state in ("one", "diverged")
    assert ("<svg" in page) == has_curves  # no axis without data, nor a heading above none
    assert ('id="figures"' in page) == has_curves
    is_whole = state in ("one", "bare")
    assert ("Every run of the study finished" in page) == is_whole
    assert ("Runs without numbers" in page) == (not is_whole and state != "nothing")


def test_one_seed_gives_figures_without_intervals_and_no_finding(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 1)
    for config in configs:
        store.write(make_record(config))
    page = write(configs, store, store.folder / "report")
    assert "No finding: n\xa0=\xa01, and nothing is claimed from fewer than 3" in page
    assert "Holm p" not in page.split('id="headline"')[0].split('id="findings"')[1]
    assert "(n\xa0=\xa01); one run has no interval." in page
    assert "\xa0±\xa0" not in page
    assert 'id="figure-nll_nats-depth"' in page


def test_a_record_of_a_newer_schema_is_left_out_and_named(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1,), ("bce",), (20,), 3)
    for config in configs[:2]:
        store.write(make_record(config))
    store.write(make_record(configs[2], schema=2))
    page = write(configs, store, store.folder / "report")
    said = "schema 2 was written by a newer hvae; this one reads up to 1"
    assert f"1 damaged, left out of everything; the first: runs/{digest(configs[2])}.json" in page
    assert said in page
    assert "2 of 3 (1 damaged)" in page


def test_the_order_is_findings_table_figures_pictures_details_making(whole_page: str) -> None:
    sections = ("findings", "headline", "figures", "pictures", "details", "how")
    order = [whole_page.index("Does &lt;depth&gt; help?")]
    order += [whole_page.index(f'<section id="{name}"') for name in sections]
    assert order == sorted(order)
    how = whole_page[order[-1] :]
    for made in ("git commit", "data SHA-256", "Python", "device name", "cost of all runs"):
        assert made in how
    assert len(re.findall("<img ", whole_page)) == 4 * 3


def test_records_of_different_sources_are_pointed_out(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    first, second = configs = make_grid((1,), ("bce",), (20,), 2)
    store.write(make_record(first))
    store.write(make_record(second, code={"sources_sha256": "0" * 64}, data_sha256="1" * 64))
    page = write(configs, store, store.folder / "report")
    assert "different hvae sources" in page
    assert "different data files" in page


def test_bad_formats_and_folders_are_named(store: Store) -> None:
    with pytest.raises(ValueError, match=r"format: 'docx' is not known; allowed: html, latex"):
        write_report("T", "Q", [], store, store.folder, ("docx",))
    (store.folder / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write under"):
        write_report("T", "Q", [], store, store.folder / "file", ("md",))


def test_the_report_starts_without_torch_and_scikit_learn() -> None:
    code = (
        "import sys, report.study.writer, report.study.page; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'ablations')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
