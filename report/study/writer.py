"""Everything a report consists of, written into a folder; each file is whole or not there."""

import ctypes
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from joblib import cpu_count

from hvae.records.standings import Standing
from hvae.records.store import Store
from hvae.validation import require_choice
from report.data.design import Design
from report.data.frames import Study, load
from report.machine.benches import read_benches
from report.render.drawing import PAPER, Drawing, Picture, image, no_wider_than, picture
from report.render.output import write_files
from report.render.tables import written
from report.study.exports import csv_files, paper_table
from report.study.figures.every import Draw, figures
from report.study.page import contents, render
from report.study.pictures.contact_sheets import contact_sheets
from report.study.pictures.gallery import read_gallery
from report.study.pictures.sample_grids import sample_grids

FORMATS = ("html", "latex", "csv", "md", "png", "pdf")
FEWEST_RUNS = 24  # of a study whose figures are drawn side by side
DIE_WITH_PARENT = 1  # of Linux's prctl: PR_SET_PDEATHSIG


class Figure(NamedTuple):
    """A figure to draw, and the kinds of files it is wanted as."""

    draw: Draw
    study: Study
    kinds: tuple[str, ...]


def drawn(figure: Figure) -> Picture | None:
    """The figure as files, of PDF one as wide as a page and one as wide as a column; nothing where
    there are no data for it."""
    drawing = figure.draw(figure.study)
    if drawing is None:
        return None
    found = picture(drawing, [kind for kind in figure.kinds if kind != "pdf"])
    on_paper = PAPER if "pdf" in figure.kinds else {}
    content = {kind: image(_fitted(figure, drawing, on_paper[kind]), "pdf") for kind in on_paper}
    return replace(found, content={**found.content, **content})


@contextmanager
def drawn_meanwhile(figures: Sequence[Figure], jobs: int) -> Iterator[Iterable[Picture | None]]:
    """`drawn` of each figure, in order, begun at once and done while the caller goes on. By forks,
    which have imported everything: that takes another process as long as its share of the drawing.
    One by one where the system cannot fork a process that has drawn already."""
    if jobs == 1 or sys.platform != "linux":
        yield map(drawn, figures)
        return
    forks = ProcessPoolExecutor(jobs, get_context("fork"), _follow_parent)
    try:
        with warnings.catch_warnings():
            # Of a process with threads: what draws waits for no lock that one of them may hold.
            warnings.filterwarnings("ignore", ".*fork")
            begun = forks.map(drawn, figures)
        yield begun
    finally:
        forks.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """A fork ends with its parent, however that ends; Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


def _fitted(figure: Figure, drawing: Drawing, inches: float) -> Drawing:
    """The drawing, drawn again where it is wider than that."""
    if drawing.figure.get_figwidth() <= inches:
        return drawing
    with no_wider_than(inches):
        fitted = figure.draw(figure.study)
    assert fitted is not None
    return fitted


def write_report(
    design: Design,
    standings: Sequence[Standing],
    store: Store,
    folder: Path,
    formats: Sequence[str],
    columns: Sequence[str] = (),
) -> list[Path]:
    """Write the report of a study from its standings' records; the paths written, the page first.

    `html` → index.html; `csv` → cells.csv, runs.csv and others; `latex`, `md` → cells.tex and
    cells.md, with the metrics that `columns` name; `png`, `pdf` → figures/, pictures included, the
    PDF also at the width of a column. `store` is read for pictures only; ladders of `hvae bench`
    beside it are shown too. Raises `ValueError` on an unknown format or column, or a folder that
    cannot be written.
    """
    for name in formats:
        require_choice("format", name, FORMATS)
    study = load(design, standings, store)
    narrow = paper_table(study, columns)
    images = tuple(kind for kind in ("png", "pdf") if kind in formats)
    kinds = ("svg", *images) if "html" in formats else images
    jobs = cpu_count() if len(standings) >= FEWEST_RUNS else 1
    to_draw = [Figure(draw, study, kinds) for draw in figures(study) if kinds]
    with drawn_meanwhile(to_draw, jobs) as begun:
        benches = read_benches(store.folder.parent / "bench")  # where `hvae bench` writes
        gallery = read_gallery(store, study)
        grids = sample_grids(study, gallery)
        page = contents(study, benches, gallery, grids) if "html" in formats else {}
        texts = [suffix for kind, suffix in (("latex", "tex"), ("md", "md")) if kind in formats]
        files = {f"cells.{suffix}": written(narrow, suffix).encode() for suffix in texts}
        files |= csv_files(study) if "csv" in formats else {}
        pictures = [found for found in begun if found is not None]
    if page:
        files = {"index.html": render(page, pictures, list(files)).encode()} | files
    sheets = [*grids, *contact_sheets(study, gallery)] if images else []
    for kind in images:
        files |= {
            f"figures/{found.name}.{suffix}": found.content[suffix]
            for found in pictures
            for suffix in (PAPER if kind == "pdf" else [kind])
        }
        others = (*benches.drawings, *sheets)
        files |= {f"figures/{other.name}.{kind}": image(other, kind) for other in others}
    return write_files(folder, files)
