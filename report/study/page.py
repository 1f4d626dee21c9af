"""One self-contained HTML page of a study: findings, tables, figures, and how it was made.

Nothing of now enters it: the same records give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hvae.config import describe
from report.data.frames import Study
from report.data.metrics import BOLD_NOTE, COMMON_NOTE, DETAIL, SHARE_NOTE
from report.machine.benches import Benches
from report.render.drawing import Drawing, picture
from report.render.output import templates
from report.render.tables import Table
from report.study.cells import cells, cells_table, levels_table, place, titles_of
from report.study.contact_sheets import TITLES, caption
from report.study.contrast_tables import contrasts_table, effects_table, error_table
from report.study.figures.throughput import throughput_table
from report.study.findings import findings
from report.study.gallery import CellPictures, Gallery, data_uri
from report.study.provenance import lacking_table, made_table, notices, status_counts, status_table


@dataclass(frozen=True)
class Thumb:
    """A sheet of images as the template needs it; sizes in CSS pixels."""

    source: str
    text: str
    width: int
    height: int


def render(study: Study, drawings: Sequence[Drawing], benches: Benches, gallery: Gallery) -> str:
    """The page as HTML."""
    found = templates()
    found.filters["tie"] = _tie
    return found.get_template("page.html.j2").render(
        title=study.design.name,
        question=study.design.question,
        common=[describe(name, value) for name, value in study.common.items()],
        findings=findings(study),
        counts=status_counts(study),
        headline=headline_table(study),
        pictures=[picture(drawing) for drawing in drawings],
        gallery=[(place(study, cell.settings), _thumbs(cell)) for cell in gallery.cells],
        gallery_axes=titles_of(study),
        gallery_titles=TITLES,
        gallery_notes=gallery_notes(study, gallery),
        ladders=[picture(drawing) for drawing in benches.drawings],
        gate=benches.gate,
        details=[table for table in detail_tables(study) if table.rows],
        lacking=lacking_table(study),
        made=[table for table in (made_table(study), status_table(study)) if table.rows],
        notices=[*notices(study), *gallery.notices, *benches.notices],
    )


def _tie(text: str) -> str:
    """No line break inside `n = 5` or `1.5 ± 0.1`."""
    return text.replace("n = ", "n\xa0=\xa0").replace(" ± ", "\xa0±\xa0")


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
    notes = [caption(gallery), "Shown in 16 grey levels."]
    if gallery.absent:
        cells = [
            ", ".join(factor.describe(settings[factor.name]) for factor in study.factors)
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
        effects_table(study),
        contrasts_table(study),
        error_table(study),
    ]


def _machines(study: Study) -> list[str]:
    own = study.throughput[study.throughput["is_own_batch"].astype(bool)]
    if own.empty:
        return []
    batches = ", ".join(map(str, sorted(own["batch"].unique())))
    machines = "; ".join(sorted(own["machine"].unique()))
    return [f"Throughput at the batch size that trains, {batches}, measured on: {machines}."]
