"""Records of trained models, taken to every output; and that the builders know their keys."""

import re
from collections import defaultdict
from typing import Any

import pandas as pd
import pytest
from builders import SMALL, design, record, report_of, study_of

from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.evaluation.evaluate import evaluate
from hvae.pictures.samples import pictures
from hvae.records.attachments import arrays_file
from hvae.records.store import ARRAYS, Store
from hvae.settings import override, shared
from hvae.training.fit import fit
from report.data.metrics import DETAIL, HEADLINE, LEVEL_METRICS
from report.study.pictures.gallery import read_gallery
from report.study.writer import FORMATS

TINY = {"model.hidden_dim": 8, "train.epochs": 2, "train.batch_size": 16}
VARIANTS: dict[str, dict[str, Any]] = {
    "documented": {},
    "ELBO": {"objective": "elbo"},
    "MSE": {"loss": "mse"},
}
ASKED = design(
    {"train.kl_weight": (0.5, 1.0)},
    VARIANTS,
    seeds=1,
    base=override(SMALL, {**TINY, "latent": 3, "evaluation.importance_samples": 20}),
)
DERIVED = {"kl_excess_nats", "train_seconds", "evaluate_seconds"}  # no metrics of a record


@pytest.fixture(scope="session")
def real(few_digits: Images, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six runs of two epochs, trained and evaluated here; the clock's numbers are made up."""
    store = Store(tmp_path_factory.mktemp("real") / "study")
    store.open_for_writing()
    packs: dict[RunConfig, list[RunConfig]] = defaultdict(list)
    for run in ASKED.runs:
        packs[shared(run)].append(run)
    for runs in packs.values():
        fitted = fit(runs, few_digits)
        evaluated = evaluate(fitted.models, few_digits, runs[0].evaluation.importance_samples)
        left = zip(runs, fitted.models, fitted.histories, *evaluated[:2], strict=True)
        for run, model, history, metrics, nlls in left:
            made = record(run, history=history, metrics=metrics)
            drawn = pictures(model, few_digits, metrics["kl_per_unit_nats"], (8, 8))
            store.write(made, {ARRAYS: arrays_file(drawn | nlls)})
    return store


@pytest.mark.usefixtures("no_layout")
def test_real_records_reach_every_output(real: Store) -> None:
    paths = report_of(real, ASKED, *FORMATS)
    assert {path.suffix for path in paths} == {".html", ".tex", ".csv", ".md", ".png", ".pdf"}
    page, tex, md, cells, *figures = paths
    for path in (page, tex, md):
        text = path.read_text()
        assert all(name in text for name in ("KL weight", "variant", *VARIANTS))
    table = pd.read_csv(cells)
    assert len(table.drop_duplicates(["train.kl_weight", "variant"])) == 6
    assert (table["n"] == 1).all()
    assert table["mean"].notna().all()
    names = {path.name for path in figures}
    for name in re.findall(r'<figure id="figure-([\w.-]+)"', page.read_text()):
        assert {f"{name}.png", f"{name}.pdf"} <= names
    assert {"nll_nats-train.kl_weight.png", "effects-variant.pdf", "kl-nats-per-level.png"} <= names
    study = study_of(real, ASKED)
    assert len(read_gallery(real, study).cells) == 6
    assert study.runs["kl_excess_nats"].notna().all()
    for contrast in study.contrasts.by_cell["train.kl_weight"]:
        assert contrast.test_set_error > 0 or contrast.metric.name == "psnr_db"


def test_builders_and_the_report_know_every_metric_of_a_real_record(real: Store) -> None:
    synthetic = set(record(SMALL).metrics)
    for made in real:
        assert set(made.metrics) == synthetic
        assert made.history[0].keys() == record(SMALL).history[0].keys()
    known = [metric for metric in (*HEADLINE, *DETAIL) if not metric.better]
    scalars = {name for m in known for name in (m.name, *m.errors)}
    elsewhere = {  # settings, curve, units, errors
        *("importance_samples", "nll_images", "nll_encoder_curve_nats", "kl_per_unit_nats"),
        *("nll_encoder_standard_error_nats", "nll_encoder_test_set_error_nats"),
    }
    assert (scalars - DERIVED) | set(LEVEL_METRICS) | elsewhere == synthetic
