"""`hvae reproduce`: what is there is not done again, what is missing or of other sources is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ablations.cli.main import main
from ablations.grid import runs
from ablations.run.executors import Serial
from ablations.run.reproduction import STUDY, MeasureTask, write_measurements
from ablations.studies import narrow
from hvae.config import DataConfig, EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from hvae.model.hierarchy import initial, state
from hvae.pictures import reproduction
from hvae.records.attachments import weights_file
from hvae.records.sources import SourcesChanged
from hvae.records.store import WEIGHTS, Record, Store
from hvae.settings import digest

RUN = RunConfig(
    ModelConfig(64), TrainConfig(epochs=1), DataConfig("digits"), EvaluationConfig(2)
)  # the documented one, but for what is needed to be fast and offline
UNIT_KL = [[0.1], [0.2] * 20]  # of a record made up: only the top level has all its units
OPTIONS = ("--data", "digits", "--device", "cpu")


def call(folder: Path, *arguments: str) -> Result:
    command = ("reproduce", "--results", str(folder), *arguments)
    return CliRunner().invoke(main, command, catch_exceptions=False)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch, and an evaluation of two samples."""
    settings = {"train.epochs": 1, "evaluation.importance_samples": 2}
    monkeypatch.setattr("ablations.run.reproduction.STUDY", narrow(STUDY, settings=settings))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "reproduce-digits")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """In this process, with empty measurements: the runs measured, in their order."""
    seen: list[RunConfig] = []
    serial = Serial(prepare=lambda: None)
    monkeypatch.setattr("ablations.run.launch.choose", lambda *_: serial)
    monkeypatch.setattr("ablations.run.executors.Local", lambda workers: serial)

    def measure(model: Any, images: Any, unit_kl: list[float]) -> reproduction.Measurements:
        assert len(unit_kl) == model.config.latent_dim
        seen.append(model.config)
        return reproduction.Measurements({}, {})

    monkeypatch.setattr(reproduction, "measurements", measure)
    return seen


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """In place of the page: the folders it was asked for."""
    asked: list[Path] = []

    def write(folder: Path) -> list[Path]:
        asked.append(folder)
        return [folder / "report" / "index.html", folder / "report" / "figure.png"]

    monkeypatch.setattr("report.reproduction.page.write_reproduction", write)
    return asked


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, make_record: Callable[..., Record]) -> list[RunConfig]:
    """In place of training: records of untrained models, and which runs they are of."""
    seen: list[RunConfig] = []

    def run_study(packs: Any, store: Store, executor: Any, conditions: Any, *_: Any) -> None:
        assert conditions.keeps_weights
        (pack,) = packs
        (run,) = pack.runs
        seen.append(run)
        weights = weights_file(state(initial(run)), run)
        record = make_record(run, pack.study)
        record = replace(record, metrics={**record.metrics, "kl_per_unit_nats": UNIT_KL})
        store.write(record, {WEIGHTS: weights})

    monkeypatch.setattr("ablations.run.launch.run_study", run_study)
    monkeypatch.setattr("ablations.run.launch.throughput", lambda *_: {})
    return seen


def test_the_study_is_the_documented_run_and_nothing_else() -> None:
    assert runs(STUDY) == [RunConfig()]


def test_digits_differ_from_the_documented_run_in_their_pixels_only(
    tmp_path: Path, trained: list[RunConfig], measured: list[Any], pages: list[Any]
) -> None:
    assert call(tmp_path, "--data", "digits", "--device", "cpu").exit_code == 0
    assert trained == [RunConfig(ModelConfig(64), data=DataConfig("digits"))]


@pytest.mark.usefixtures("brief")
def test_a_reproduction_is_trained_measured_and_written_once(
    tmp_path: Path, store: Store, measured: list[Any], pages: list[Any], monkeypatch: Any
) -> None:
    """The training is real: record, pictures and weights lie where the page looks for them."""
    monkeypatch.setattr("ablations.run.launch.throughput", lambda *_: {})
    result = call(tmp_path, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "reproduce-digits" / "report" / "index.html")
    assert pages == [store.folder]
    assert measured == [RUN.model]
    (record,) = store
    assert (record.run, record.study) == (RUN, "reproduce-digits")
    assert store.arrays_path(record.digest).exists()
    assert store.weights_path(record.digest).exists()
    facts = json.loads((store.folder / "reproduction.json").read_text())
    assert facts["digest"] == record.digest

    monkeypatch.setattr(
        "ablations.run.launch.run_study", lambda *_, **__: pytest.fail("trained again")
    )
    again = call(tmp_path, *OPTIONS)
    assert again.stdout == result.stdout
    assert again.stderr == "reproduce-digits: nothing to do, every run is there\n"
    assert len(measured) == 1


@pytest.mark.usefixtures("brief")
def test_without_its_weights_the_run_is_trained_again_and_its_record_stays(
    tmp_path: Path, store: Store, trained: list[Any], measured: list[Any], pages: list[Any]
) -> None:
    call(tmp_path, *OPTIONS)
    before = store.path(digest(RUN)).stat().st_ino
    store.weights_path(digest(RUN)).unlink()
    assert call(tmp_path, *OPTIONS).exit_code == 0
    assert trained == [RUN, RUN]
    assert store.path(digest(RUN)).stat().st_ino == before
    assert len(measured) == 1  # the weights are the same, so is what they say


@pytest.mark.usefixtures("brief")
def test_other_sources_measure_again_but_train_again_only_where_asked(
    tmp_path: Path,
    trained: list[Any],
    measured: list[Any],
    pages: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call(tmp_path, *OPTIONS)
    for module in ("ablations.run.launch", "hvae.pictures.reproduction"):
        monkeypatch.setattr(f"{module}.sources_sha256", lambda: "others")
    result = call(tmp_path, *OPTIONS)
    assert result.exit_code == 0
    assert "not redone: 1 stale record; --redo-stale does it" in result.stderr
    assert (len(trained), len(measured)) == (1, 2)
    call(tmp_path, *OPTIONS, "--redo-stale")
    assert len(trained) == 2


@pytest.mark.usefixtures("brief")
def test_a_stale_record_without_weights_says_what_redoes_it(
    tmp_path: Path, store: Store, make_record: Callable[..., Record], pages: list[Any]
) -> None:
    store.open_for_writing()
    store.write(replace(make_record(RUN), code={"sources_sha256": "others"}))
    result = call(tmp_path, *OPTIONS)
    assert result.exit_code == 2
    assert "has no weights; --redo-stale redoes both" in result.stderr


@pytest.mark.usefixtures("brief")
def test_a_diverged_training_is_said_and_no_page_written(
    tmp_path: Path, store: Store, make_record: Callable[..., Record], pages: list[Any]
) -> None:
    store.open_for_writing()
    weights = {WEIGHTS: weights_file(state(initial(RUN)), RUN)}
    store.write(make_record(RUN, nll=None), weights)
    result = call(tmp_path, *OPTIONS)
    assert result.exit_code == 1
    assert "diverged" in result.stderr
    assert pages == []


@pytest.mark.usefixtures("brief")
def test_a_failed_training_is_said_with_its_reason(
    tmp_path: Path, pages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(packs: Any, store: Store, *_: Any) -> None:
        store.write_failure(packs[0].runs[0], RuntimeError("no luck"))

    monkeypatch.setattr("ablations.run.launch.run_study", fail)
    monkeypatch.setattr("ablations.run.launch.throughput", lambda *_: {})
    result = call(tmp_path, *OPTIONS)
    assert result.exit_code == 1
    assert "the training failed: RuntimeError: no luck" in result.stderr
    assert pages == []


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("is_stale", [True, False])
def test_a_record_that_fails_to_be_redone_is_a_failure_and_no_page(
    tmp_path: Path,
    store: Store,
    pages: list[Any],
    make_record: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_stale: bool,
) -> None:
    """A stale one, and one whose weights are gone."""

    def fail(packs: Any, store: Store, *_: Any) -> None:
        store.write_failure(packs[0].runs[0], RuntimeError("no luck"))

    made = make_record(RUN, "reproduce-digits")
    if is_stale:
        made = replace(made, code={"sources_sha256": "of others"})
    store.open_for_writing()
    store.write(made, {WEIGHTS: b"weights"} if is_stale else {})
    monkeypatch.setattr("ablations.run.launch.run_study", fail)
    monkeypatch.setattr("ablations.run.launch.throughput", lambda *_: {})
    result = call(tmp_path, *OPTIONS, *(["--redo-stale"] if is_stale else []))
    assert result.exit_code == 1
    assert "trained again it failed: RuntimeError: no luck" in result.stderr
    assert pages == []


def test_without_mnist_one_line_says_how_to_get_it_and_what_works_offline(tmp_path: Path) -> None:
    result = call(tmp_path / "results", "--data-dir", str(tmp_path))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "`hvae data fetch mnist --data-dir " in line
    assert "`hvae reproduce --data digits` works offline" in line
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("brief")
def test_a_page_of_what_is_there_needs_no_images(
    tmp_path: Path, make_record: Callable[..., Record], pages: list[Any], monkeypatch: Any
) -> None:
    run, store = replace(RUN, model=ModelConfig(), data=DataConfig()), Store(tmp_path / "reproduce")
    store.open_for_writing()
    record = replace(made := make_record(run), metrics=made.metrics | {"kl_per_unit_nats": UNIT_KL})
    store.write(record, {WEIGHTS: weights_file(state(initial(run)), run)})
    monkeypatch.setattr(reproduction, "is_current", lambda *_: True)
    result = call(tmp_path, "--data-dir", str(tmp_path / "empty"))
    assert result.exit_code == 0, result.output
    assert pages == [store.folder]
    monkeypatch.setattr(reproduction, "is_current", lambda *_: False)
    assert "mnist: " in call(tmp_path, "--data-dir", str(tmp_path / "empty")).stderr


def test_pictures_are_measured_by_the_sources_that_are_named(tmp_path: Path) -> None:
    task = MeasureTask(tmp_path, RunConfig(), tmp_path, "cd" * 32)
    with pytest.raises(SourcesChanged):
        next(write_measurements(task, lambda done, total: None))
