"""Records → tidy frames, whatever state the folder is in."""

import math
from typing import Any

import numpy as np
import pytest
from builders import SMALL, design, filled, record, report_of, study_of

from hvae.closed_form import run_parameters
from hvae.config import RunConfig
from hvae.records.store import Store
from hvae.settings import digest
from report.data.design import Design
from report.data.frames import Study, by_image, is_alive
from report.data.records import frame_of
from report.data.rows import closed_form_nats

ONE = {"depth": (2,)}


def test_every_expected_key_has_exactly_one_state(store: Store) -> None:
    asked = design(ONE, seeds=5)
    finished, diverged, failed, missing, damaged = asked.runs
    store.write(record(finished))
    store.write(record(diverged, status="diverged", metrics={"elbo_nats": None}))
    store.write_failure(failed, RuntimeError("out of memory"))
    store.write(record(damaged))
    store.path(digest(damaged)).write_bytes(b'{"schema": 1')
    status = study_of(store, asked).status.set_index("key")
    states = {"diverged": diverged, "failed": failed, "missing": missing, "damaged": damaged}
    for state, config in {"finished": finished, **states}.items():
        assert status["status"][digest(config)] == state
    assert status["message"][digest(failed)] == "RuntimeError: out of memory"
    assert f"runs/{digest(damaged)}.json: not a" in str(status["message"][digest(damaged)])
    assert str(store.folder) not in str(status["message"][digest(damaged)])


def nulls(found: Any) -> Any:
    """What a record holds in place of numbers that are none."""
    if isinstance(found, dict):
        return {name: nulls(held) for name, held in found.items()}
    return [nulls(held) for held in found] if isinstance(found, list) else None


def test_a_run_whose_numbers_are_all_none_is_diverged_and_not_damaged(store: Store) -> None:
    """As it is left by a learning rate that is far too high, at two levels."""
    asked = design({"depth": (2,)})
    lost = {"status": "diverged", "metrics": nulls(record(asked.runs[0]).metrics)}
    study = filled(store, asked, lambda run: lost if run == asked.runs[0] else {})
    assert study.status["status"].tolist() == ["diverged", "finished", "finished"]
    frame = frame_of(store)
    assert frame["top_level_gain_nats"].isna().sum() == 1
    assert sorted(frame["status"]) == ["diverged", "finished", "finished"]


def test_a_diverged_run_enters_no_mean_but_keeps_its_loss_curve(store: Store) -> None:
    asked = design(ONE, seeds=1)
    study = filled(store, asked, lambda run: {"status": "diverged"})  # with finite metrics
    assert study.runs.empty
    assert study.levels.empty
    assert len(study.epochs) == SMALL.train.epochs


def test_a_cell_whose_throughput_could_not_be_measured_keeps_its_metrics(store: Store) -> None:
    error = {"throughput": {"measurements": [], "error": "MemoryError: all"}}
    study = filled(store, design(ONE, seeds=1), lambda run: error)
    assert len(study.runs) == 1
    assert study.throughput.empty


def test_a_newer_schema_is_refused_with_its_number(store: Store) -> None:
    study = filled(store, design(ONE, seeds=1), lambda run: {"schema": 99})
    assert "schema 99" in study.status["message"].item()
    assert study.runs.empty


def test_records_are_those_of_the_standings_and_read_no_second_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = design(ONE, seeds=2)
    filled(store, asked)
    reads: list[str] = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda s, name: reads.append(name) or read(s, name))
    assert len(study_of(store, asked).runs) == 2
    assert sorted(reads) == sorted(map(digest, asked.runs))


def test_a_run_is_one_row_with_its_settings_and_metrics(full_study: Study) -> None:
    runs = design().runs
    assert len(full_study.runs) == len(runs) == full_study.runs["key"].nunique()
    row = full_study.runs.set_index("key").loc[digest(runs[0])]
    assert row["elbo_nats"] == record(runs[0]).metrics["elbo_nats"]
    assert (row["depth"], row["loss"], row["latent"]) == (1, "bce", 2)


def test_a_cell_is_told_by_what_varies_and_the_rest_is_common(store: Store) -> None:
    axes = {"depth": (1, 2), "latent": (20,), "train.kl_weight": (2.0, 0.5, 1.0)}
    variants = {"slow": {}, "fast": {"train.learning_rate": 0.01}}
    study = study_of(store, design(axes, variants))
    assert study.cell == ["depth", "train.kl_weight", "variant"]  # no latent: it has one value
    _, weight, variant = study.factors
    assert weight.values == (0.5, 1.0, 2.0)  # an ordered axis is in order, whatever was written
    assert variant.values == ("slow", "fast")  # the others in the study's, the reference first
    assert study.common["latent"] == 20
    assert not {"depth", "train.learning_rate"} & set(study.common)  # one varies, one a variant
    first = study.grid.iloc[0]
    assert (first["depth"], first["train.kl_weight"], first["variant"]) == (1, 0.5, "slow")


def test_a_study_that_varies_nothing_is_named_by_the_usual_settings(store: Store) -> None:
    study = study_of(store, design(ONE))
    assert set(study.cell) == {"depth", "loss", "latent", "objective"}
    assert study.varying == []


def test_runs_that_the_axes_do_not_tell_apart_are_never_averaged(store: Store) -> None:
    asked = design({"depth": (1, 2), "latent": (2, 20)})
    blind = Design(asked.name, asked.question, asked.runs, axes=("depth",))
    with pytest.raises(AssertionError):
        filled(store, blind)


def test_long_frames_hold_one_row_per_level_epoch_and_sample_count(store: Store) -> None:
    asked = design({"depth": (3,)}, seeds=1)
    study = filled(store, asked)
    assert study.levels["level"].tolist() == [1, 2, 3]
    kl = record(asked.runs[0]).metrics["kl_per_level_nats"]
    assert study.levels["kl_nats"].tolist() == kl
    assert study.epochs["epoch"].tolist() == [1, 2, 3, 4]
    assert set(study.curve["samples"]) == {1, 10, 100, 1000}
    rates = study.throughput.set_index(["task", "batch"])
    assert [*rates.index] == [
        *(("train_step", 64), ("train_step", 1024)),
        *(("module_train_step", 64), ("module_train_step", 1024)),
        *(("inference", 64), ("inference", 1024)),
        ("sampling", 64),
    ]
    assert rates["is_own_batch"].tolist() == [True, False] * 3 + [True]
    assert rates["is_best_batch"].tolist() == [False, True] * 3 + [True]


def test_absent_and_null_metrics_are_no_numbers(store: Store) -> None:
    asked = design(ONE, seeds=2)
    first, second = asked.runs
    store.write(record(first, metrics={"elbo_nats": None}, throughput={}, history=[]))
    store.write(record(second, metrics={"elbo_nats": -3.0, "nll_nats": 2.0}))
    runs = study_of(store, asked).runs.set_index("key")
    assert runs.loc[[digest(first)], ["elbo_nats", "nll_nats"]].isna().all(axis=None)
    assert runs["nll_nats"][digest(second)] == 2.0


@pytest.mark.usefixtures("no_layout")
def test_what_a_record_leaves_out_with_a_reason_is_no_number_and_the_report_is_written(
    store: Store,
) -> None:
    """As of a perfect reconstruction and of images of one class."""
    reasons = {"psnr_db": "exact", "probe_accuracy_per_level": "one class"}
    whole = record(design(ONE, seeds=1).runs[0]).metrics
    metrics = {name: value for name, value in whole.items() if name not in reasons}
    asked = design({"depth": (1, 2)}, seeds=2)
    study = filled(store, asked, lambda run: {"metrics": metrics | {"left_out": reasons}})
    assert "psnr_db" not in study.runs
    assert study.levels["probe_accuracy"].isna().all()
    assert len(report_of(store, asked, "html", "csv", "md", "latex")) == 9


def test_where_images_are_binary_the_likelihood_by_image_is_that_of_the_scoreboard(
    store: Store,
) -> None:
    own, both = "a" * 16, "b" * 16
    np.savez(store.arrays_path(own), nll_nats=np.array([1.0, 2.0]))
    board = np.array([5.0, 6.0])
    np.savez(store.arrays_path(both), nll_nats=np.array([3.0, 4.0]), scoreboard_nll_nats=board)
    found = {
        metric: {key: values.tolist() for key, values in held.items()}
        for metric, held in by_image(store, [own, both]).items()
    }
    assert found == {
        "nll_nats": {own: [1.0, 2.0], both: [3.0, 4.0]},
        "scoreboard_nll_nats": {own: [1.0, 2.0], both: [5.0, 6.0]},
    }


def test_an_empty_study_and_an_absent_folder_load(store: Store) -> None:
    assert study_of(store, Design("none", "", ())).status.empty
    absent = Store(store.folder / "nowhere")
    assert set(study_of(absent, design()).status["status"]) == {"missing"}


def test_records_nobody_asked_for_are_counted_and_left_out(full_store: Store) -> None:
    asked = design({"depth": (1,), "loss": ("bce", "mse"), "latent": (2, 20)})
    study = study_of(full_store, asked)
    assert study.unasked == len(design().runs) - len(asked.runs)
    assert study.levels["level"].max() == 1


@pytest.mark.parametrize("loss", ["bce", "mse", "gaussian", "continuous-bernoulli"])
def test_the_closed_form_is_read_back_from_the_documented_loss(store: Store, loss: str) -> None:
    """R = 50 nats, joint KL 7, Σ K_t 7.5; MSE, 64 pixels: Σ (x − x̂)² = 2·50 − 64·log 2π."""
    error = 100.0 - 64 * math.log(2 * math.pi) if loss == "mse" else 50.0
    metrics = {"reconstruction_nats": 50.0, "rate_nats": 7.0, "loss_documented": error + 15.0}
    metrics["elbo_nats"] = -57.02  # the other estimate of the KL: 7.02
    asked = design({"depth": (1, 2), "loss": (loss,)}, seeds=1)
    runs = filled(store, asked, lambda run: {"metrics": metrics}).runs
    assert runs["kl_excess_nats"].tolist() == pytest.approx([math.nan, 0.5], nan_ok=True)
    assert runs["kl_noise_nats"].tolist() == pytest.approx([math.nan, 0.02], nan_ok=True)
    assert closed_form_nats(record(asked.runs[0], metrics=metrics)) == pytest.approx(7.5)
    assert math.isnan(closed_form_nats(record(asked.runs[0], metrics={})))


def test_a_retrained_gap_is_the_step_from_the_model_of_the_same_seed_without_the_level(
    store: Store,
) -> None:
    nll = {1: 100.0, 2: 97.0, 3: 96.0}

    def metrics(run: RunConfig) -> dict[str, Any]:
        own = nll[run.model.num_layers] + run.train.seed
        return {"metrics": record(run).metrics | {"nll_nats": own}}

    levels = filled(store, design({"depth": (1, 2, 3)}, seeds=2), metrics).levels
    gaps = levels[levels["depth"] == 3].groupby("level")["retrained_gap_nats"].agg(list)
    assert np.isnan(gaps[1]).all()
    assert gaps[2] == [4.0, 4.0]  # levels 2 and 3 together
    assert gaps[3] == [1.0, 1.0]


def test_the_gain_of_a_top_level_counts_where_it_lives(store: Store) -> None:
    def metrics(run: RunConfig) -> dict[str, Any]:
        own = {"level_gain_nats": [None, 0.5], "kl_per_level_nats": [9.0, 0.02 * run.train.seed]}
        return {"metrics": record(run).metrics | own}

    runs = filled(store, design({"depth": (2,)}, seeds=2), metrics).runs.set_index("seed")
    assert math.isnan(runs.loc[0, "top_level_gain_nats"])  # of a dead level
    assert runs.loc[1, "top_level_gain_nats"] == 0.5


def test_parameters_are_those_that_a_record_holds(store: Store) -> None:
    asked = design({"loss": ("bce", "gaussian")}, seeds=1)
    found = study_of(store, asked).status.set_index("key")["parameters"]
    assert found.to_dict() == {digest(run): run_parameters(run) for run in asked.runs}
    assert found.nunique() == 2  # one variance of all pixels more


def test_a_level_below_the_top_lives_where_its_share_is_above_two_of_its_errors(
    store: Store,
) -> None:
    """Of 20 units that are their prior, over 25 draws of 360 images: √(20 / 2 / 9000) = 0.0333."""
    kl = {"kl_per_level_nats": [0.0768, 0.0765, 0.01]}

    def change(run: RunConfig) -> dict[str, Any]:
        return {"metrics": record(run).metrics | kl}

    levels = filled(store, design({"depth": (3,), "latent": (20,)}, seeds=1), change).levels
    assert levels["alive_from_nats"].tolist() == pytest.approx([0.07667, 0.07667, 0.01], abs=1e-5)
    assert is_alive(levels).tolist() == [True, False, True]
