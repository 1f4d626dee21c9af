"""Everything a report consists of, written into a folder; each file is whole or not there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hvae.records.standings import Standing
from hvae.records.store import Store
from hvae.validation import require_choice
from report.data.design import Design
from report.data.frames import Study, load
from report.machine.benches import read_benches
from report.render.drawing import image
from report.render.output import write_files
from report.render.tables import written
from report.study.cells import cells
from report.study.contact_sheets import contact_sheets
from report.study.figures.quality import draw_all
from report.study.gallery import read_gallery
from report.study.page import headline_table, render

FORMATS = ("html", "latex", "csv", "md", "png", "pdf")


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
    study, files = load(design, standings, store), {}
    benches = read_benches(store.folder.parent / "bench")  # where `hvae bench` writes
    gallery = read_gallery(store, study)
    kinds = [kind for kind in ("png", "pdf") if kind in formats]
    drawings = draw_all(study) if kinds or "html" in formats else []
    if "html" in formats:
        files["index.html"] = render(study, drawings, benches, gallery).encode()
    for kind, suffix in (("latex", "tex"), ("md", "md")):
        if kind in formats:
            files[f"cells.{suffix}"] = written(headline_table(study), suffix).encode()
    if "csv" in formats:
        files["cells.csv"] = _csv(cells(study).drop(columns="heading"))
        files["runs.csv"] = _csv(long_runs(study))
    sheets = contact_sheets(study, gallery) if kinds else []
    for kind in kinds:
        everything = (*drawings, *benches.drawings, *sheets)
        files |= {f"figures/{d.name}.{kind}": image(d, kind) for d in everything}
    return write_files(folder, files)


def long_runs(study: Study) -> pd.DataFrame:
    """One row per scalar of a finished run; a run without numbers has one empty row."""
    place = ["key", *study.cell, "seed"]
    scalars = [name for name in study.runs if name not in study.status]
    values = study.runs.melt(["key", *study.cell], scalars, "metric")
    return study.status[[*place, "status"]].merge(values, on=["key", *study.cell], how="left")


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
