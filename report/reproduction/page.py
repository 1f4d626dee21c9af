"""The page of `hvae reproduce`: documented results beside what was obtained, a verdict for each.

One self-contained file with the trained model in it; the same folder gives the same bytes. What it
says stands in `report/templates/reproduction`, a file per result.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from hvae.closed_form import parameter_count
from hvae.config import RunConfig
from report.data.rows import closed_form_nats, made_by
from report.render.drawing import Drawing, image, svg
from report.render.numbers import rounded
from report.render.output import templates, write_files
from report.render.policy import inline
from report.reproduction import verdicts
from report.reproduction.explorer import embed
from report.reproduction.figures import draw_reproduction
from report.reproduction.folder import Reproduction, read_reproduction
from report.study.provenance import MADE

EXPLORER = ("explorer_model.js", "explorer_drawing.js", "explorer.js")


def write_reproduction(folder: Path) -> list[Path]:
    """Write the page of a reproduction into `folder/report`, its figures as PNG and PDF below;
    the paths written, the page first.

    Raises `ValueError` where a file of `folder` is missing or damaged, or it cannot be written.
    """
    reproduction = read_reproduction(folder)
    drawings = draw_reproduction(reproduction)
    files = {"index.html": render(reproduction, drawings).encode()}
    for kind in ("png", "pdf"):
        files |= {f"figures/{d.name}.{kind}": image(d, kind) for d in drawings.values()}
    return write_files(folder / "report", files)


def render(reproduction: Reproduction, drawings: Mapping[str, Drawing]) -> str:
    """The page as HTML."""
    record, judged = reproduction.record, judge_all(reproduction)
    environment = templates(percent=verdicts.percent, rounded=rounded)
    explorer = embed(record, reproduction.weights, reproduction.arrays)
    svgs = {name: svg(drawing) for name, drawing in drawings.items()}
    scripts = [*(EXPLORER if explorer else ()), "page.js"]
    return environment.get_template("reproduction.html.j2").render(
        reproduction=reproduction,
        record=record,
        run=record.run,
        documented_run=RunConfig(),
        closed_form_nats=closed_form_nats(record),
        closed_form_parameters=parameter_count(record.run.model),
        falls=verdicts.falls(reproduction.losses),
        verdicts=judged,
        counts=Counter(verdict.grade for verdict in judged.values()),
        thresholds=vars(verdicts),
        drawings=drawings,
        svgs=svgs,
        explorer=explorer,
        inline=inline(("style.css", "reproduction.css"), scripts, svgs.values()),
        made={label: made_by(record).get(column) for column, label in MADE.items()},
    )


def judge_all(reproduction: Reproduction) -> dict[str, verdicts.Verdict]:
    """A verdict per result, in the order of the documentation, by the name of its template and of
    its drawing. A model of other sizes has another count; nothing else that differs does."""
    facts, differences = reproduction.facts, reproduction.differences
    expected = parameter_count(reproduction.record.run.model)
    other = [f"the model is {reproduction.sizes}"] if expected != verdicts.PARAMETERS else []
    count = verdicts.judge_count(reproduction.record.parameters, expected)
    of_pictures = {
        "loss-curve": verdicts.judge_curve(reproduction.losses, reproduction.trained_kl_nats),
        "samples": verdicts.judge_samples(facts["samples"]),
        "latent-map": verdicts.judge_map(facts["map"], reproduction.last_kl_nats),
        "manifold": verdicts.judge_manifold(*reproduction.planes.values()),
    }
    return {
        "parameters": verdicts.with_differences(count, other),
        **{n: verdicts.with_differences(v, differences) for n, v in of_pictures.items()},
    }
