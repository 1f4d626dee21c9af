"""One self-contained HTML page of a study: findings, tables, figures, and how it was made.

Nothing of now enters it: the same records give the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from report.data.frames import Study
from report.data.metrics import (
    BOLD_NOTE,
    COMMON_NOTE,
    DETAIL,
    FEW_NOTE,
    NLL_NOTE,
    SHARE_NOTE,
)
from report.machine.benches import Benches
from report.render.drawing import Drawing, Picture, picture
from report.render.output import templates
from report.render.policy import page_inline
from report.render.tables import Table
from report.study.cells import cells, cells_table, levels_table
from report.study.contrast_tables import contrast_table, error_table
from report.study.figures.throughput import throughput_table
from report.study.pictures.contact_sheets import TITLES
from report.study.pictures.gallery import Gallery, data_uri
from report.study.provenance import (
    citation,
    made_table,
    not_compared,
    status_counts,
    status_table,
)
from report.study.published import distance_table
from report.study.text.answer import answer
from report.study.text.cautions import cautions
from report.study.text.findings import findings
from report.study.text.glossary import GLOSSARY
from report.study.text.setup import setup


def contents(
    study: Study, benches: Benches, gallery: Gallery, grids: Sequence[Drawing]
) -> dict[str, Any]:
    """What the page holds beside the figures of the study, by the names of its template."""
    lacking = study.status[study.status["status"] != "finished"]
    every_run = status_table("status", "Every run of the study, by key", study, study.status)
    return {
        "study": study,
        "setup": setup(study),
        "answer": answer(study),
        "cautions": cautions(study),
        "glossary": GLOSSARY,
        "citation": citation(study),
        "findings": findings(study),
        "counts": status_counts(study),
        "headline": headline_table(study),
        "published": distance_table(study),
        "gallery": gallery,
        "gallery_titles": TITLES,
        "grids": [picture(drawing, ["svg"]) for drawing in grids],
        "ladders": [picture(drawing, ["svg"]) for drawing in benches.drawings],
        "gate": benches.gate,
        "details": [table for table in detail_tables(study) if table.rows],
        "lacking": status_table("lacking", "Runs without numbers", study, lacking),
        "made": [table for table in (made_table(study), every_run) if table.rows],
        "not_compared": not_compared(study),
        "damaged_files": [*gallery.notices, *benches.notices],
    }


def render(
    contents: Mapping[str, Any], pictures: Sequence[Picture], downloads: Sequence[str] = ()
) -> str:
    """The page as HTML, with the figures of the study and links to the files beside it."""
    held = page_inline([*pictures, *contents["grids"], *contents["ladders"]])
    template = templates(data_uri=data_uri).get_template("page.html.j2")
    return template.render(contents, drawings=pictures, downloads=downloads, inline=held)


def headline_table(study: Study) -> Table:
    """One row per cell: runs, parameters, quality, throughput."""
    tidy = cells(study)
    few = [FEW_NOTE] if "effective_sample_size" in set(tidy["metric"]) else []
    notes = [COMMON_NOTE, BOLD_NOTE, *few, *_machines(study)]
    return cells_table(tidy, study, "cells", "Every cell of the study", notes)


def detail_tables(study: Study) -> list[Table]:
    """What stands behind the headline: more metrics, contrasts, the errors apart."""
    more, known = cells(study, DETAIL, has_throughput=False), study.contrasts
    over_cells = (known.effects, known.interactions, known.against_zero)
    mean_effects = [family for families in over_cells for family in families.values()]
    return [
        cells_table(more, study, "more", "Further metrics of every cell", [NLL_NOTE, SHARE_NOTE]),
        throughput_table(study),
        levels_table(study),
        contrast_table("effects", "Effects, interactions, differences from zero", mean_effects),
        contrast_table("contrasts", "Contrasts cell by cell", known.by_cell.values()),
        error_table(study),
    ]


def _machines(study: Study) -> list[str]:
    own = study.throughput[study.throughput["is_own_batch"].astype(bool)]
    if own.empty:
        return []
    batches = ", ".join(map(str, sorted(own["batch"].unique())))
    machines = "; ".join(sorted(own["machine"].unique()))
    return [f"Throughput at the batch size that trains, {batches}, measured on: {machines}."]
