"""One self-contained HTML page of a study: findings, tables, figures, and how it was made.

Nothing of now enters it: the same records give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from report.data.frames import Study
from report.data.metrics import BOLD_NOTE, COMMON_NOTE, DETAIL, SHARE_NOTE, axis_label
from report.machine.benches import Benches
from report.render.drawing import Drawing, svg
from report.render.output import environment
from report.render.tables import Entry, Table, to_html
from report.study.cells import cells, cells_table, levels_table, setting, shown_axes
from report.study.contact_sheets import TITLES, caption
from report.study.contrast_tables import contrast_table, error_table
from report.study.figures.throughput import throughput_table
from report.study.findings import findings
from report.study.gallery import CellPictures, Gallery, data_uri
from report.study.provenance import lacking_table, made_table, notices, status_counts, status_table

WIDE_INCHES = 8.0  # wider figures take the whole width of the page


@dataclass(frozen=True)
class Picture:
    """A drawing as the template needs it."""

    name: str
    title: str
    caption: str
    svg: Markup
    is_wide: bool
    width_rem: float


@dataclass(frozen=True)
class Thumb:
    """A sheet of images as the template needs it; sizes in CSS pixels."""

    source: str
    text: str
    width: int
    height: int


def render(
    title: str,
    question: str,
    study: Study,
    drawings: Sequence[Drawing],
    benches: Benches,
    gallery: Gallery,
) -> str:
    """The page as HTML."""
    templates = environment()
    templates.filters["table"] = lambda table: Markup(to_html(table))
    templates.filters["tie"] = _tie
    return templates.get_template("page.html.j2").render(
        title=title,
        question=question,
        findings=findings(study),
        counts=status_counts(study),
        headline=headline_table(study),
        pictures=[_picture(drawing) for drawing in drawings],
        gallery=[(_place(study, cell), _thumbs(cell)) for cell in gallery.cells],
        gallery_axes=[axis.replace("_", " ") for axis in shown_axes(study)],
        gallery_titles=TITLES,
        gallery_notes=gallery_notes(study, gallery),
        ladders=[_picture(drawing) for drawing in benches.drawings],
        gate=benches.gate,
        details=[table for table in detail_tables(study) if table.rows],
        lacking=lacking_table(study),
        made=[table for table in (made_table(study), status_table(study)) if table.rows],
        notices=[*notices(study), *gallery.notices, *benches.notices],
    )


def _tie(text: str) -> str:
    """No line break inside `n = 5` or `1.5 ± 0.1`."""
    return text.replace("n = ", "n\xa0=\xa0").replace(" ± ", "\xa0±\xa0")


def _picture(drawing: Drawing) -> Picture:
    inches = float(drawing.figure.get_figwidth())
    opening = f'<svg role="img" aria-label="{escape(drawing.title)}"'
    # The rest is our own output, already escaped by matplotlib.
    graphic = Markup(svg(drawing).replace("<svg", opening, 1))
    wide = inches > WIDE_INCHES
    return Picture(drawing.name, drawing.title, drawing.caption, graphic, wide, 6.5 * inches)


def _place(study: Study, cell: CellPictures) -> list[Entry]:
    return [setting(axis, cell.settings[axis]) for axis in shown_axes(study)]


def _thumbs(cell: CellPictures) -> list[Thumb]:
    zoom = cell.zoom
    return [
        Thumb(data_uri(s.pixels), s.text, zoom * s.pixels.shape[1], zoom * s.pixels.shape[0])
        for s in cell.sheets
    ]


def gallery_notes(study: Study, gallery: Gallery) -> list[str]:
    """What the pictures show, and which cells have none."""
    if study.runs.empty:
        return []
    if not gallery.cells:
        return ["No run of this study has left pictures beside its record."]
    notes = [caption(gallery), "Traversed units are counted from 0. Shown in 16 grey levels."]
    if gallery.absent:
        cells = [
            ", ".join(axis_label(axis, settings[axis]) for axis in shown_axes(study))
            for settings in gallery.absent
        ]
        notes.append(f"No pictures of seed {gallery.seed} in {len(cells)}: {'; '.join(cells)}.")
    return notes


def headline_table(study: Study) -> Table:
    """One row per cell: runs, parameters, quality, throughput."""
    notes = [COMMON_NOTE, BOLD_NOTE, *_machines(study)]
    return cells_table(cells(study), study, "cells", "Every cell of the study", notes)


def detail_tables(study: Study) -> list[Table]:
    """What stands behind the headline: more metrics, contrasts, the errors apart."""
    more = cells(study, DETAIL, has_throughput=False)
    return [
        cells_table(more, study, "more", "Further metrics of every cell", [SHARE_NOTE]),
        throughput_table(study),
        levels_table(study),
        contrast_table(study, is_averaged=True),
        contrast_table(study, is_averaged=False),
        error_table(study),
    ]


def _machines(study: Study) -> list[str]:
    own = study.throughput[study.throughput["is_own_batch"].astype(bool)]
    if own.empty:
        return []
    batches = ", ".join(map(str, sorted(own["batch"].unique())))
    machines = "; ".join(sorted(own["machine"].unique()))
    return [f"Throughput at the batch size that trains, {batches}, measured on: {machines}."]
