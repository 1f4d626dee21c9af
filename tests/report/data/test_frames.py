"""Records → tidy frames, whatever state the folder is in."""

from collections.abc import Callable

from hvae.closed_form import parameter_count
from hvae.config import RunConfig, TrainConfig, digest
from hvae.records.store import Record, Store
from report.data.frames import load

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def test_every_expected_key_has_exactly_one_state(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    finished, diverged, failed, missing, damaged = configs = make_grid((2,), ("bce",), (20,), 5)
    store.write(make_record(finished))
    store.write(make_record(diverged, status="diverged", metrics={"elbo_nats": None}))
    store.write_failure(failed, RuntimeError("out of memory"))
    store.write(make_record(damaged))
    store.path(digest(damaged)).write_bytes(b'{"schema": 1')
    status = load(store, configs).status.set_index("key")
    states = {"diverged": diverged, "failed": failed, "missing": missing, "damaged": damaged}
    for state, config in {"finished": finished, **states}.items():
        assert status["status"][digest(config)] == state
    assert status["message"][digest(failed)] == "RuntimeError: out of memory"
    assert f"runs/{digest(damaged)}.json: not a" in str(status["message"][digest(damaged)])
    assert str(store.folder) not in str(status["message"][digest(damaged)])


def test_a_diverged_run_enters_no_mean_but_keeps_its_loss_curve(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    (config,) = make_grid((2,), ("bce",), (20,), 1)
    store.write(make_record(config, status="diverged"))  # with finite metrics
    study = load(store, [config])
    assert study.runs.empty
    assert study.levels.empty
    assert len(study.epochs) == config.train.epochs


def test_a_cell_whose_throughput_could_not_be_measured_keeps_its_metrics(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    blank, measured = make_grid((2,), ("bce", "mse"), (20,), 1)
    store.write(make_record(blank, throughput={"measurements": [], "error": "MemoryError: all"}))
    store.write(make_record(measured))
    study = load(store, [blank, measured])
    assert study.runs["key"].tolist() == [digest(blank), digest(measured)]
    assert set(study.throughput["key"]) == {digest(measured)}


def test_a_damaged_failure_file_is_listed_too(store: Store, make_grid: Grid) -> None:
    (config,) = make_grid((1,), ("bce",), (2,), 1)
    store.failure_path(digest(config)).write_text('{"foreign": 1}')
    assert load(store, [config]).status["status"].tolist() == ["damaged"]


def test_a_newer_schema_is_refused_with_its_number(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    (config,) = make_grid((1,), ("bce",), (2,), 1)
    store.write(make_record(config, schema=99))
    study = load(store, [config])
    assert "schema 99" in study.status["message"].item()
    assert study.runs.empty


def test_a_run_is_one_row_with_its_settings_and_metrics(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid(seeds=2)
    for config in configs:
        store.write(make_record(config))
    study = load(store, [*configs, *configs])  # asked for twice, counted once
    assert len(study.runs) == len(configs) == study.runs["key"].nunique()
    assert study.cell == ("depth", "loss", "latent", "objective", "data", "binarize")
    row = study.runs.set_index("key").loc[digest(configs[0])]
    assert row["elbo_nats"] == make_record(configs[0]).metrics["elbo_nats"]
    assert row["parameters"] == parameter_count(configs[0].model)
    assert study.varying() == ("depth", "loss", "latent")


def test_any_other_field_that_varies_becomes_a_column(store: Store) -> None:
    configs = [RunConfig(train=TrainConfig(learning_rate=rate)) for rate in (1e-3, 1e-4)]
    assert load(store, configs).cell[-1] == "learning_rate"


def test_long_frames_hold_one_row_per_level_epoch_and_sample_count(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    (config,) = make_grid((3,), ("bce",), (20,), 1)
    made = make_record(config)
    store.write(made)
    study = load(store, [config])
    assert study.levels["level"].tolist() == [1, 2, 3]
    assert study.levels["kl_nats"].tolist() == made.metrics["kl_per_level_nats"]
    assert study.epochs["epoch"].tolist() == [1, 2, 3, 4]
    assert set(study.curve["samples"]) == {1, 10, 100, 1000}
    rates = study.throughput.set_index(["task", "batch"])
    assert [*rates.index] == [
        *(("train_step", 64), ("train_step", 1024), ("inference", 64), ("inference", 1024)),
        ("sampling", 64),
    ]
    assert rates["is_own_batch"].tolist() == [True, False, True, False, True]
    assert rates["is_best_batch"].tolist() == [False, True, False, True, True]


def test_absent_and_null_metrics_are_no_numbers(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    first, second = configs = make_grid((1,), ("bce",), (2,), 2)
    store.write(make_record(first, metrics={"elbo_nats": None}, throughput={}, history=[]))
    store.write(make_record(second, metrics={"elbo_nats": -3.0, "nll_nats": 2.0}))
    runs = load(store, configs).runs.set_index("key")
    assert runs.loc[[digest(first)], ["elbo_nats", "nll_nats"]].isna().all(axis=None)
    assert runs["nll_nats"][digest(second)] == 2.0


def test_an_empty_study_and_an_absent_folder_load(store: Store, make_grid: Grid) -> None:
    assert load(store, []).status.empty
    absent = Store(store.folder / "nowhere")
    assert set(load(absent, make_grid()).status["status"]) == {"missing"}


def test_records_nobody_asked_for_are_counted_and_left_out(
    full_store: Store, make_grid: Grid
) -> None:
    study = load(full_store, make_grid((1,)))
    assert study.unasked == len(make_grid()) - len(make_grid((1,)))
    assert set(study.runs["depth"]) == {1}
