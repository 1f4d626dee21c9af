"""Everything a report consists of, written into a folder; each file is whole or not there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hvae.records.standings import Standing
from hvae.records.store import Store
from report.data.design import Design
from report.data.frames import Study, load
from report.machine.benches import Benches, read_benches
from report.render.drawing import image
from report.render.output import write_files
from report.render.tables import to_latex, to_markdown
from report.study.cells import cells
from report.study.contact_sheets import contact_sheets
from report.study.figures.quality import draw_all
from report.study.gallery import Gallery, read_gallery
from report.study.page import headline_table, render

FORMATS = ("html", "latex", "csv", "md", "png", "pdf")


def write_report(
    design: Design,
    standings: Sequence[Standing],
    store: Store,
    folder: Path,
    formats: Sequence[str] = ("html", "latex", "csv", "md"),
) -> list[Path]:
    """Write the report of a study from its records; the paths written, the page first.

    `html` → index.html; `csv` → cells.csv, runs.csv; `latex`, `md` → cells.tex, cells.md;
    `png`, `pdf` → figures/, pictures included. Ladders of `hvae bench` beside the store are shown
    too. Raises `ValueError` on an unknown format or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"format: {name!r} is not known; allowed: {', '.join(FORMATS)}")
    study = load(store, [standing.run for standing in standings])
    benches = read_benches(store.folder.parent / "bench")  # where `hvae bench` writes
    drawn = {"html", "png", "pdf"} & set(formats)
    gallery = read_gallery(store, study) if drawn else Gallery()
    return write_files(
        folder, _contents(design.name, design.question, study, benches, gallery, formats)
    )


def _contents(
    title: str,
    question: str,
    study: Study,
    benches: Benches,
    gallery: Gallery,
    formats: Sequence[str],
) -> dict[str, bytes]:
    """File name -> content, the page first."""
    files: dict[str, bytes] = {}
    pictures = [kind for kind in ("png", "pdf") if kind in formats]
    drawings = draw_all(study) if pictures or "html" in formats else []
    if "html" in formats:
        page = render(title, question, study, drawings, benches, gallery)
        files["index.html"] = page.encode()
    if "latex" in formats:
        files["cells.tex"] = to_latex(headline_table(study)).encode()
    if "md" in formats:
        files["cells.md"] = to_markdown(headline_table(study)).encode()
    if "csv" in formats:
        files["cells.csv"] = _csv(cells(study).drop(columns="heading", errors="ignore"))
        files["runs.csv"] = _csv(long_runs(study))
    everything = [
        *drawings,
        *benches.drawings,
        *(contact_sheets(study, gallery) if pictures else ()),
    ]
    for kind in pictures:
        files |= {f"figures/{d.name}.{kind}": image(d, kind) for d in everything}
    return files


def long_runs(study: Study) -> pd.DataFrame:
    """One row per scalar of a finished run; a run without numbers has one empty row."""
    settings = ["key", *study.cell, "seed"]
    states = study.status[[*settings, "status"]]
    values = study.runs.melt(settings, var_name="metric")[["key", "metric", "value"]]
    return states.merge(values, on="key", how="left")


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
