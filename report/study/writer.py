"""Everything a report consists of, written into a folder; each file is whole or not there."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from joblib import Parallel, cpu_count, delayed

from hvae.records.standings import Standing
from hvae.records.store import Store
from hvae.validation import require_choice
from report.data.design import Design
from report.data.frames import Study, load
from report.machine.benches import read_benches
from report.render.drawing import Picture, image, picture
from report.render.output import write_files
from report.render.tables import csv, written
from report.study.cells import cells
from report.study.contact_sheets import contact_sheets
from report.study.figures.quality import Draw, figures
from report.study.gallery import read_gallery
from report.study.page import contents, headline_table, render

FORMATS = ("html", "latex", "csv", "md", "png", "pdf")
FEWEST_RUNS = 24  # of a study whose figures are drawn in processes: each imports for some seconds


class Figure(NamedTuple):
    """A figure to draw, and the kinds of files it is wanted as."""

    draw: Draw
    study: Study
    kinds: tuple[str, ...]


def drawn(figure: Figure) -> Picture | None:
    """The figure as files; nothing where there are no data for it."""
    drawing = figure.draw(figure.study)
    return None if drawing is None else picture(drawing, figure.kinds)


def write_report(
    design: Design,
    standings: Sequence[Standing],
    store: Store,
    folder: Path,
    formats: Sequence[str],
) -> list[Path]:
    """Write the report of a study from its standings' records; the paths written, the page first.

    `html` → index.html; `csv` → cells.csv, runs.csv; `latex`, `md` → cells.tex, cells.md;
    `png`, `pdf` → figures/, pictures included. `store` is read for pictures only; ladders of
    `hvae bench` beside it are shown too. Raises `ValueError` on an unknown format or a folder that
    cannot be written.
    """
    for name in formats:
        require_choice("format", name, FORMATS)
    study = load(design, standings, store)
    images = tuple(kind for kind in ("png", "pdf") if kind in formats)
    kinds = ("svg", *images) if "html" in formats else images
    jobs = cpu_count() if len(standings) >= FEWEST_RUNS else 1
    to_draw = [delayed(drawn)(Figure(draw, study, kinds)) for draw in figures(study) if kinds]
    begun = Parallel(jobs, return_as="generator")(to_draw)  # what comes next is done meanwhile
    benches = read_benches(store.folder.parent / "bench")  # where `hvae bench` writes
    gallery = read_gallery(store, study)
    page = contents(study, benches, gallery) if "html" in formats else {}
    headline = page.get("headline") or headline_table(study)
    files = {}
    for kind, suffix in (("latex", "tex"), ("md", "md")):
        if kind in formats:
            files[f"cells.{suffix}"] = written(headline, suffix).encode()
    if "csv" in formats:
        files["cells.csv"] = csv(cells(study).drop(columns="heading"))
        files["runs.csv"] = csv(long_runs(study))
    pictures = [found for found in begun if found is not None]
    if page:
        files = {"index.html": render(page, pictures, list(files)).encode()} | files
    sheets = contact_sheets(study, gallery) if images else []
    for kind in images:
        files |= {f"figures/{found.name}.{kind}": found.content[kind] for found in pictures}
        others = (*benches.drawings, *sheets)
        files |= {f"figures/{other.name}.{kind}": image(other, kind) for other in others}
    return write_files(folder, files)


def long_runs(study: Study) -> pd.DataFrame:
    """One row per scalar of a finished run; a run without numbers has one empty row."""
    place = ["key", *study.cell, "seed"]
    scalars = [name for name in study.runs if name not in study.status]
    values = study.runs.melt(["key", *study.cell], scalars, "metric")
    return study.status[[*place, "status"]].merge(values, on=["key", *study.cell], how="left")
