"""The page of `hvae reproduce`: documented results beside what was obtained, a verdict for each.

One self-contained file with the trained model in it; the same folder gives the same bytes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import load, made_by
from report.render.drawing import Drawing, image, svg
from report.render.output import environment, write_files
from report.reproduction.explorer import embed
from report.reproduction.figures import draw_reproduction
from report.reproduction.folder import Reproduction, read_reproduction
from report.reproduction.results import Number, Result, consequences, documented_results
from report.reproduction.verdicts import DIFFERENT, FAILED, REPRODUCED
from report.study.documented import charged
from report.study.provenance import MADE

TITLE = "Reproduction of the documented results"
QUESTION = (
    "Does the documented training of a two-level hierarchical VAE give the documented results?"
)
MARKS = {REPRODUCED: ("yes", "✓"), DIFFERENT: ("near", "≈"), FAILED: ("no", "✗")}


@dataclass(frozen=True)
class Picture:
    """A drawing as the template needs it."""

    title: str
    caption: str
    svg: Markup


def write_reproduction(folder: Path, data_name: str) -> list[Path]:
    """Write the page of a reproduction into `folder/report`, its figures as PNG and PDF below;
    the paths written, the page first.

    Raises `ValueError` where `folder` holds no whole reproduction of `data_name`, or cannot be
    written.
    """
    made = read_reproduction(folder)
    name = made.record.run.data.name
    if name != data_name:
        raise ValueError(f"data: {folder} holds a reproduction with {name!r}, not {data_name!r}")
    drawings = draw_reproduction(made)
    files = {"index.html": render(made, drawings, closed_form_nats(made, folder)).encode()}
    for kind in ("png", "pdf"):
        files |= {f"figures/{d.name}.{kind}": image(d, kind) for d in drawings.values()}
    return write_files(folder / "report", files)


def closed_form_nats(made: Reproduction, folder: Path) -> float:
    """Σ K_t on the test set; NaN for a diverged run."""
    runs = charged(load(Store(folder), [made.record.run]))
    return float(runs["closed_form_nats"].iloc[0]) if len(runs) else float("nan")


def render(made: Reproduction, drawings: Mapping[str, Drawing], closed_form: float) -> str:
    """The page as HTML."""
    results = documented_results(made)
    model = embed(
        made.record.run.model, made.weights, made.digits, made.digit_labels, made.unit_kl_nats
    )
    return (
        environment()
        .get_template("reproduction.html.j2")
        .render(
            title=TITLE,
            question=QUESTION,
            notices=notices(made),
            summary=summary(results),
            results=results,
            pictures={name: _picture(drawing) for name, drawing in drawings.items()},
            marks=MARKS,
            explorer=Markup(model) if model else None,  # numbers and base64 only
            consequences=consequences(made, closed_form),
            command=command(made),
            facts=facts(made),
        )
    )


def notices(made: Reproduction) -> list[str]:
    """What a reader must know before believing a verdict."""
    said = []
    if made.differences:
        said.append(
            f"This run did not use the documented settings: {'; '.join(made.differences)}. No "
            "result that depends on them can be more than reproduced with a difference."
        )
    if made.record.status == "diverged":
        said.append("The training diverged: its loss became no number.")
    return said


def summary(results: list[Result]) -> str:
    """How many results have each grade."""
    counts = Counter(result.verdict.grade for result in results)
    parts = [f"{counts[grade]} {grade}" for grade in MARKS if counts[grade]]
    return f"Of {len(results)} documented results: {', '.join(parts)}."


def command(made: Reproduction) -> str:
    """What makes this page again."""
    own, documented = made.record.run, RunConfig()
    options = {
        "data": (own.data.name, documented.data.name),
        "epochs": (own.train.epochs, documented.train.epochs),
        "importance-samples": (
            own.evaluation.importance_samples,
            documented.evaluation.importance_samples,
        ),
    }
    given = [f" --{name} {value}" for name, (value, usual) in options.items() if value != usual]
    return "hvae reproduce" + "".join(given)


def facts(made: Reproduction) -> list[Number]:
    """Settings, code, data, environment and cost of the run."""
    record, model, train = made.record, made.record.run.model, made.record.run.train
    settings = (
        f"{model.input_dim}-{model.hidden_dim}-{model.latent_dim}, levels {model.num_layers}, "
        f"{train.loss.upper()}, objective {train.objective}, {train.epochs} epochs, Adam "
        f"{train.learning_rate:g}, batches of {train.batch_size}, seed {train.seed}"
    )
    origin = made_by(record)
    seconds = sorted(record.seconds.items(), reverse=True)  # train before evaluate
    cost = ", ".join(f"{value:,.0f} s to {name}" for name, value in seconds)
    return [
        Number(settings, "settings"),
        Number(record.digest, "digest of the settings"),
        Number(record.run.data.name, "data"),
        *(Number(_plain(origin.get(column)), label) for column, label in MADE.items()),
        Number(cost or "not recorded", "time"),
    ]


def _plain(value: object) -> str:
    if value is None:
        return "not recorded"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _picture(drawing: Drawing) -> Picture:
    return Picture(drawing.title, drawing.caption, Markup(svg(drawing)))
