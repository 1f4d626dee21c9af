"""What real trackers hold after `export_records`, read back by their own means; both are held to
the same: all of each record, once, whatever was there before."""

import io
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ENVIRONMENT, SOURCES, record, write_pictures
from PIL import Image

from ablations.grid import labels, runs
from ablations.presets import PRESETS
from ablations.studies import narrow
from ablations.trackers import mlflow_export
from ablations.trackers.export import Exported, export_records
from ablations.trackers.mlflow_export import open_mlflow
from hvae.records.standings import survey
from hvae.records.store import Record, Store
from hvae.settings import digest
from report.study.pictures.gallery import COLUMNS, read_sheets

STUDY = narrow(PRESETS["quick"], {"depth": (1, 2), "loss": ("bce",), "latent": (2,)}, seeds=1)
RUNS = runs(STUDY)
# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@dataclass
class Seen:
    """A run as a tracker shows it; numbers by name and step."""

    name: str
    status: str
    numbers: dict[tuple[str, int], float]
    pictures: dict[str, np.ndarray]
    text: str


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's, which takes seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    open_mlflow(f"sqlite:///{path}", "empty")
    return path


@pytest.fixture(
    params=[
        pytest.param("mlflow", marks=pytest.mark.mlflow),
        pytest.param("tensorboard", marks=pytest.mark.tensorboard),
    ]
)
def to(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each tracker, empty."""
    if request.param == "tensorboard":
        return f"tensorboard:{tmp_path / 'board'}"
    path = shutil.copy(request.getfixturevalue("database"), tmp_path)
    return f"mlflow:sqlite:///{path}"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two finished runs with pictures. The current folder is where MLflow puts its own."""
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "results" / "quick")
    store.open_for_writing()
    for run in RUNS:
        store.write(record(run))
        write_pictures(store, run)
    return store


def export(store: Store, to: str) -> Exported:
    return export_records(STUDY, store, survey(store, RUNS, SOURCES), to)


def seen(to: str) -> dict[str, Seen]:
    """What lies in a tracker, by digest; a digest that lies there twice fails."""
    kind, _, where = to.partition(":")
    listed = list((in_mlflow if kind == "mlflow" else in_tensorboard)(where))
    assert len(dict(listed)) == len(listed)
    return dict(listed)


def in_mlflow(uri: str) -> Iterator[tuple[str, Seen]]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("quick")
    for run in client.search_runs([experiment.experiment_id]):
        run_id, folder = run.info.run_id, Path(run.info.artifact_uri)
        histories = [client.get_metric_history(run_id, name) for name in run.data.metrics]
        numbers = {(m.key, m.step): m.value for history in histories for m in history}
        pictures = {p.stem: np.array(Image.open(p)) for p in folder.glob("pictures/*.png")}
        text = f"{run.data.params} {run.data.tags}"
        shown = Seen(run.info.run_name, run.info.status, numbers, pictures, text)
        yield run.data.tags["hvae.digest"], shown


def in_tensorboard(board: str) -> Iterator[tuple[str, Seen]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for folder in Path(board, "quick").iterdir():
        events = EventAccumulator(str(folder), {"scalars": 0, "images": 0, "tensors": 0})
        tags: Mapping[str, Any] = events.Reload().Tags()
        numbers = {(t, e.step): e.value for t in tags["scalars"] for e in events.Scalars(t)}
        pictures = {
            tag.removeprefix("pictures/"): np.array(
                Image.open(io.BytesIO(events.Images(tag)[0].encoded_image_string)).convert("L")
            )
            for tag in tags["images"]
        }
        made = events.Tensors("tags/text_summary")[0].tensor_proto.string_val[0].decode()
        held = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        settings = dict(HParamsPluginData.FromString(held).session_start_info.hparams)
        yield folder.name[-16:], Seen(folder.name[:-17], "", numbers, pictures, f"{settings}{made}")


def leaves(tree: Any) -> list[float]:
    """All numbers of nested lists and tables."""
    if isinstance(tree, dict | list):
        parts = tree.values() if isinstance(tree, dict) else tree
        return [number for part in parts for number in leaves(part)]
    return [] if tree is None else [tree]


def numbers_of(record: Record) -> list[float]:
    """All that a record has measured or counted, but what is known from the settings."""
    history = [{k: v for k, v in epoch.items() if k != "epoch"} for epoch in record.history]
    rates = ("images_per_second", "lower_quartile", "upper_quartile")
    speeds = [[m[rate] for rate in rates] for m in record.throughput["measurements"]]
    held = [record.metrics, history, speeds, record.seconds]
    return leaves([*held, record.parameters, record.flops_per_image])


def test_every_number_of_a_record_is_there_and_no_other(
    store: Store, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_export, "AT_ONCE", 50)
    assert export(store, to) == (2, 0, to)
    kind = np.float64 if to.startswith("mlflow") else np.float32  # TensorBoard's own precision
    for made in store:
        shown = seen(to)[made.digest].numbers
        expected = np.array(numbers_of(made), kind)
        np.testing.assert_array_equal(np.sort([*shown.values()]), np.sort(expected).astype(float))
        last, rates = made.history[-1], made.throughput["measurements"][0]
        named = {
            ("nll_nats", 0): made.metrics["nll_nats"],
            ("kl_per_level_nats/1", 0): made.metrics["kl_per_level_nats"][0],
            ("nll_encoder_curve_nats", 100): made.metrics["nll_encoder_curve_nats"]["100"],
            ("train/loss", last["epoch"]): last["loss"],
            ("train/kl_per_level_nats/1", 1): made.history[0]["kl_per_level_nats"][0],
            ("train_seconds", 0): made.seconds["train"],
            ("throughput/cpu/train_step/compiled/batch_64/images_per_second", 0): rates[
                "images_per_second"
            ],
        }
        assert {key: shown[key] for key in named} == {k: float(kind(v)) for k, v in named.items()}


def test_pictures_settings_and_what_made_a_run_are_there(store: Store, to: str) -> None:
    export(store, to)
    for made in store:
        shown = seen(to)[made.digest]
        sheets = dict(zip(COLUMNS, read_sheets(store.arrays_path(made.digest)), strict=False))
        assert shown.pictures.keys() == sheets.keys()
        for kind, sheet in sheets.items():
            np.testing.assert_array_equal(shown.pictures[kind], sheet.pixels)
        words = labels(STUDY)[made.digest]
        assert shown.name in (words, words.lower().replace(", ", "-").replace(" ", "-"))
        for word in ("train.learning_rate", "depth", SOURCES, made.data_sha256, made.digest):
            assert word in shown.text
        for word in (ENVIRONMENT["device_name"], made.code["git_commit"], made.code["version"]):
            assert word in shown.text


def test_what_is_there_stays_and_a_record_redone_takes_its_place(
    store: Store, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(store, to)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_export, "AT_ONCE", 1)
        assert export(store, to) == (0, 2, to)
    other = record(RUNS[0], code={"sources_sha256": "ef" * 32}, metrics={"nll_nats": 7.0})
    store.write(other)
    assert export(store, to) == (1, 1, to)
    assert len(seen(to)) == 2
    assert seen(to)[other.digest].numbers["nll_nats", 0] == 7.0


def test_an_export_that_was_interrupted_is_finished_by_the_next(
    store: Store, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "mlflow.MlflowClient.log_image"
    if to.startswith("tensorboard"):
        place = "torch.utils.tensorboard.SummaryWriter.add_image"

    def interrupt(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            export(store, to)
    assert export(store, to) == (2, 0, to)
    assert [len(shown.pictures) for shown in seen(to).values()] == [4, 4]


def test_runs_that_diverged_are_marked_and_others_left_out_by_name(
    store: Store, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = RUNS
    lost = replace(record(first), status="diverged", metrics={"nll_nats": None, "psnr_db": 3.0})
    store.path(lost.digest).unlink()
    store.path(digest(second)).write_text("{")
    store.write(lost)
    store.arrays_path(lost.digest).write_bytes(b"no pictures")
    assert export(store, to) == (1, 0, to)
    ((key, shown),) = seen(to).items()
    assert key == lost.digest
    assert shown.status == ("FAILED" if to.startswith("mlflow") else "")
    assert "diverged" in shown.text
    assert ("psnr_db", 0) in shown.numbers
    assert ("nll_nats", 0) not in shown.numbers
    said = capsys.readouterr().err
    assert all(word in said for word in ("1 damaged", "1 diverged", "without pictures"))
    assert export(store, to) == (0, 1, to)


def test_why_a_metric_is_left_out_is_a_tag(store: Store, to: str) -> None:
    reasons = {"probe_accuracy_per_level": "the training images are of one class"}
    made = record(RUNS[0], metrics={"nll_nats": 7.0, "left_out": reasons}, code={"version": "x"})
    store.write(made)
    assert export(store, to) == (2, 0, to)
    shown = seen(to)[made.digest]
    assert shown.numbers["nll_nats", 0] == 7.0
    assert reasons["probe_accuracy_per_level"] in shown.text


@pytest.mark.parametrize(
    "wrong", [{"history": [{"loss": 1.0}]}, {"metrics": {"left_out": [1]}}], ids=str
)
def test_numbers_of_another_form_leave_out_their_run_alone(
    store: Store, to: str, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any]
) -> None:
    bad = record(RUNS[0], **wrong, code={"sources_sha256": "ef" * 32})
    store.write(bad)
    assert export(store, to) == (1, 0, to)
    assert f"left out: {bad.digest}: not the numbers of a run" in capsys.readouterr().err


def refuse(store: Store, to: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        export(store, to)


@pytest.mark.parametrize("to", ["", "x", "mlflow", "mlflow:", "tensorboard:", "wandb:x"], ids=repr)
def test_another_tracker_is_refused(store: Store, to: str) -> None:
    refuse(store, to, f"^to: '{to}' is not allowed; allowed: mlflow:URI or tensorboard:DIR$")


@pytest.mark.parametrize("package", ["mlflow", "tensorboard"], ids=repr)
def test_without_its_package_is_said_how_to_get_it(
    store: Store, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    told = rf"^to: '{package}.*' is not installed; .*`pip install 'hvae\[{package}\]'`$"
    refuse(store, f"{package}:here", told)


@pytest.mark.mlflow
@pytest.mark.parametrize(
    "to", ["http://me:secret@127.0.0.1:9", "ftp://x", "sqlite:///results/quick", "postgresql://x/y"]
)
def test_an_mlflow_that_does_not_answer_is_one_line_without_the_password(
    store: Store, to: str
) -> None:
    address = to.replace("me:secret@", "")
    with pytest.raises(ValueError, match=f"^to: 'mlflow:{address}' does not take ") as refusal:
        export(store, f"mlflow:{to}")
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.tensorboard
def test_a_folder_that_cannot_be_made_is_refused(store: Store) -> None:
    Path("file").touch()
    refuse(store, "tensorboard:file", "^to: cannot write under file/quick: ")


def test_a_study_without_a_record_is_refused(tmp_path: Path) -> None:
    refuse(Store(tmp_path / "quick"), "tensorboard:x", "^results: no record of these runs under ")
