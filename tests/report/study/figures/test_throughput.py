"""Images per second: every device, batch and task apart, in figures and in a table."""

from typing import Any

import numpy as np
import pytest
from builders import design, filled

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import Study
from report.render.drawing import Drawing
from report.study.figures.throughput import by_panel, throughput, throughput_table
from report.study.page import headline_table

pytestmark = pytest.mark.usefixtures("no_layout")
AXES = {"depth": (1, 2), "latent": (2, 20)}
TRAINING = ("train", "train, plain module")  # by the engine, and as a user would


def measurement(**changes: Any) -> dict[str, Any]:
    found = {
        **{"device": "cpu", "device_name": "Example CPU", "threads": 1, "task": "train_step"},
        **{"batch_size": 64, "is_best_batch": True, "repeats": 7},
        **{"images_per_second": 100.0, "lower_quartile": 90.0, "upper_quartile": 130.0},
    }
    return found | changes


def studied(store: Store, *measurements: dict[str, Any]) -> Study:
    """Two depths and two latent sizes with the given measurements; no two rates are the same."""

    def timed(run: RunConfig) -> dict[str, Any]:
        scale = 1 + 1e-9 * (100 * run.model.num_layers + run.model.latent_dim)
        own = [m | {"images_per_second": scale * m["images_per_second"]} for m in measurements]
        return {"throughput": {"environment": {}, "measurements": own}}

    return filled(store, design(AXES, seeds=2), timed)


def drawn(study: Study, factor: int = 0) -> Drawing:
    drawing = throughput(study, study.factors[factor])
    assert drawing is not None
    return drawing


def titles(study: Study) -> list[str]:
    return [axes.get_title().replace("\n", ", ") for axes in drawn(study).figure.axes]


def test_every_task_and_batch_has_a_panel_and_says_its_batch(full_study: Study) -> None:
    assert titles(full_study) == [
        *(f"{task}, cpu, batch 64" for task in (*TRAINING, "inference", "sampling")),
        *(f"{task}, cpu, best batch 1,024" for task in (*TRAINING, "inference")),
        "sampling, cpu, best batch 64",  # the size that trains is the best here
    ]


def test_no_panel_holds_two_devices(store: Store) -> None:
    cuda = measurement(device="cuda", device_name="Example GPU", images_per_second=1e6)
    study = studied(store, measurement(), cuda)
    assert (by_panel(study).groupby("panel", observed=True)["device"].nunique() == 1).all()
    assert sum("cuda" in title for title in titles(study)) == 2
    for axes in drawn(study).figure.axes:
        assert (axes.get_ylim()[1] > 1000) == ("cuda" in axes.get_title())


def test_two_machines_of_a_kind_are_never_averaged(store: Store) -> None:
    def moved(run: RunConfig) -> dict[str, Any]:
        rate = 100.0 * run.model.num_layers
        one = measurement(device_name=f"CPU {run.model.latent_dim}", images_per_second=rate)
        return {"throughput": {"measurements": [one]}}

    found = titles(filled(store, design({"depth": (1, 2), "latent": (2, 5)}, seeds=1), moved))
    assert [title.split(", ")[2] for title in found] == ["CPU 2"] * 2 + ["CPU 5"] * 2


def test_what_changes_no_rate_has_no_figure(store: Store) -> None:
    """The runs of one shape share a measurement."""

    def shaped(run: RunConfig) -> dict[str, Any]:
        one = measurement(images_per_second=100.0 * run.model.num_layers)
        return {"throughput": {"measurements": [one]}}

    study = filled(store, design({"depth": (1, 2), "train.kl_weight": (1.0, 2.0)}, seeds=1), shaped)
    depth, weight = study.factors
    assert throughput(study, depth) is not None
    assert throughput(study, weight) is None


def test_bars_are_the_quartiles_and_the_caption_says_n(store: Store) -> None:
    drawing = drawn(studied(store, measurement()), 1)
    bars = drawing.figure.axes[0].collections[0]
    ends = np.asarray(bars.get_paths()[0].vertices)[:, 1]
    assert tuple(ends) == pytest.approx((90.0, 130.0))
    for words in ("n = 1 measurement a cell", "quartiles", "median of 7 rounds", "Example CPU"):
        assert words in drawing.caption


def test_records_of_before_the_best_batch_are_drawn_too(store: Store) -> None:
    old = measurement()
    del old["is_best_batch"]
    assert titles(studied(store, old)) == ["train, cpu, batch 64"]


def test_the_headline_holds_training_and_inference_at_the_batch_that_trains(
    full_study: Study,
) -> None:
    table = headline_table(full_study)
    rates = [heading for heading in table.headings if "images/s" in heading]
    assert rates == ["train, cpu (images/s)", "inference, cpu (images/s)"]
    assert any("at the batch size that trains, 64" in note for note in table.notes)


def test_the_rate_of_a_run_is_that_of_its_own_batch_whatever_comes_last(store: Store) -> None:
    best = measurement(batch_size=1024, images_per_second=900.0)
    runs = studied(store, measurement(is_best_batch=False), best).runs
    assert set(runs["train_step_images_per_second@cpu, Example CPU, 1 thread"].round(3)) == {100.0}


def test_the_table_has_a_row_per_cell_and_task_with_both_batches(full_study: Study) -> None:
    table = throughput_table(full_study)
    assert len(table.rows) == 3 * 2 * 2 * 4  # depths, losses, latents, tasks
    texts = [entry.text for entry in table.rows[0]]
    assert texts[3:6] == ["inference", "module", "cpu, Example CPU, 1 thread"]
    assert (texts[6], texts[8]) == ("64", "1,024")
    assert texts[7].endswith("(392,000–408,000)")


def test_both_ways_of_training_stand_apart_with_their_engines(full_study: Study) -> None:
    rows = [[entry.text for entry in row[3:5]] for row in throughput_table(full_study).rows[:4]]
    assert ["train", "compiled"] in rows
    assert ["train, plain module", "module"] in rows
    assert "Train: by the compiled engine." in drawn(full_study).caption


def test_records_without_engines_were_timed_with_the_traced_one(store: Store) -> None:
    rows = throughput_table(studied(store, measurement(), measurement(task="inference"))).rows
    texts = [[entry.text for entry in row[2:4]] for row in rows[:2]]
    assert texts == [["inference", "module"], ["train", "traced"]]


def test_a_rate_that_was_not_measured_is_a_dash(store: Store) -> None:
    row = throughput_table(studied(store, measurement(is_best_batch=False))).rows[0]
    assert [entry.text for entry in row[-2:]] == ["–", "–"]
