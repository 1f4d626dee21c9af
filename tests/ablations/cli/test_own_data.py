"""Images of one's own, from the command to the page."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import record
from click.testing import CliRunner

from ablations.cli.main import main
from ablations.studies import Study, Variant
from hvae.config import DataConfig, ModelConfig, RunConfig
from hvae.data import own
from hvae.records.store import Store

FEW = ("--depth", "2", "--loss", "bce", "--latent", "2", "--seeds", "1", "--epochs", "2")
FEW = (*FEW, "--importance-samples", "10")
HERE = ("--no-throughput", "--keep-weights", "--executor", "serial")  # no worker need start


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Bars on 6 × 5 pixels, those that lie and those that stand."""
    rng = np.random.default_rng(0)
    images, labels = np.zeros((200, 6, 5), np.uint8), rng.integers(0, 2, 200)
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(0, 5)
        image[place if label else slice(None), slice(None) if label else place] = 255
    path = tmp_path / "shapes.npz"
    parts = {"train": images[:150], "test": images[150:]}
    np.savez(path, **parts, train_labels=labels[:150], test_labels=labels[150:])
    return path


def hvae(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_a_study_of_ones_own_images_is_run_shown_and_drawn_from(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("quick", *FEW, "--data", "shapes.npz", "--results", "r")
    page = Path(hvae("run", *asked, *HERE).strip())
    (record,) = Store(tmp_path / "r" / "quick")
    assert record.config["data"]["path"] == "shapes.npz"
    assert record.config["data"]["sha256"] == record.data_sha256
    assert record.config["data"]["sizes"] == [150, 50, 6, 5]
    assert record.config["model"]["input_dim"] == 30
    assert 0 < record.metrics["probe_accuracy_per_level"][0] <= 1
    text = page.read_text()
    assert "shapes, 150 images of 6 × 5 to train on, 50 to test" in text
    assert '<img src="data:image/png' in text
    assert hvae("sample", "quick", "--results", "r", "--count", "4").strip().endswith(".png")
    assert "1 done" in hvae("status", *asked)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    os.rename(shapes, moved / "shapes.npz")  # the same images: the same record
    there = ("quick", *FEW, "--data", "elsewhere/shapes.npz", "--results", "r")
    assert "1 done" in hvae("status", *there)
    assert "numbers are equal, bit for bit" in hvae("run", *there, "--verify")


def test_images_are_read_once_however_many_cells_there_are(
    shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    real = own.read
    monkeypatch.setattr(own, "read", lambda path: reads.append(path) or real(path))
    study = Study("s", settings={"data.path": str(shapes)}, axes={"depth": (1, 2, 3)})
    assert [cell.run.model.input_dim for cell in study.cells] == [30, 30, 30]
    assert reads == [str(shapes)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data", "none.npz"), "data: 'none.npz' is not allowed; allowed: digits, mnist"),
        (("--set", "data.path=none.npz"), "data.path: 'none.npz' cannot be read: No such file"),
        (("--set", "data.path=text.npz"), "data.path: 'text.npz' is no whole .npz"),
        (("--data", "."), "data.path: '.' lacks train-images-idx3-ubyte"),
    ],
)
def test_what_is_no_data_is_one_line_and_nothing_is_written(
    words: tuple[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npz").write_text("text")
    said = hvae("run", "quick", *words, "--results", "r", code=2)
    assert told in said
    assert said.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_dataset_by_name_takes_the_place_of_a_file(
    shapes: Path, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'seeds = 1\n[set]\n"data.path" = "{shapes}"\n"train.epochs" = 1\n')
    from ablations.cli.options.study import data_settings
    from ablations.studies import narrow
    from ablations.study_files import load_study

    study = load_study(str(path))
    assert study.cells[0].run.data.name == "shapes"
    named = narrow(study, settings=dict(data_settings("digits")))
    assert (named.cells[0].run.data.name, named.cells[0].run.data.path) == ("digits", "")


def test_the_same_images_at_two_places_are_one_axis_value(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = hvae("plan", "quick", *FEW, "--vary", "data.path=shapes.npz,./shapes.npz", code=2)
    told = "data.path: 'shapes.npz' and './shapes.npz' are the same images; allowed: distinct ones"
    assert told in said


@pytest.mark.parametrize("where", ["axes", "variants"])
def test_a_dataset_by_name_is_refused_where_the_study_sweeps_files(
    shapes: Path, tmp_path: Path, where: str
) -> None:
    path = tmp_path / "mine.toml"
    swept = f'[axes]\n"data.path" = ["{shapes}"]\n'
    variant = f'[[variants]]\nname = "own"\nset = {{ "data.path" = "{shapes}" }}\n'
    path.write_text(swept if where == "axes" else variant)
    said = hvae("plan", str(path), "--data", "digits", "--results", str(tmp_path), code=2)
    told = {"axes": "data.path: the study sets what an axis", "variants": "variant 'own' sets it"}
    assert told[where] in said


def test_a_variant_of_named_data_is_of_these_beside_files(shapes: Path) -> None:
    variants = (Variant("own"), Variant("digits", {"data.name": "digits"}))
    study = Study("s", settings={"data.path": str(shapes)}, variants=variants)
    assert [cell.run.data.name for cell in study.cells] == ["shapes", "digits"]


def test_without_the_images_all_is_known_that_needs_none(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('[axes]\ndepth = [1]\n[set]\n"data.path" = "shapes.npz"\n')
    few = ("--latent", "2", "--epochs", "1", "--importance-samples", "10")
    hvae("run", "mine.toml", *few, "--no-throughput", "--executor", "serial", "--device", "cpu")
    (record,) = Store(Path("results/mine"))
    shapes.unlink()
    for study in ("mine", "mine.toml"):
        assert "1 done" in hvae("status", study, *few)
        assert hvae("report", study, *few, "--format", "csv", "--out", "out").count(".csv") > 1
        assert "to train: 0 runs" in hvae("plan", study, *few)
        assert "mine/report/index.html" in hvae("run", study, *few)  # nothing to train
    told = "data.path: 'shapes.npz' cannot be read: No such file or directory"
    assert told in hvae("run", "mine", *few, "--depth", "2", code=2)
    (tmp_path / "results" / "mine" / "runs" / f"{record.digest}.json").unlink()
    assert told in hvae("status", "mine", *few, code=2)


def test_images_that_nodes_of_a_cluster_had_by_the_whole_path_are_known_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "s")
    store.open_for_writing()
    path = str(tmp_path / "gone.npz")
    data = DataConfig("gone", path=path, sha256="ab" * 32, sizes=(150, 50, 6, 5))
    store.write(record(RunConfig(ModelConfig(input_dim=30), data=data)))
    study = Study("s", settings={"data.path": "gone.npz"}, folder=store.folder)
    assert study.cells[0].run.data == replace(data, path="gone.npz")


def test_a_home_of_nobody_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = "data.path: '~nobody-is-called-that/x.npz' cannot be read: No such file"
    assert told in hvae("plan", "quick", "--set", "data.path=~nobody-is-called-that/x.npz", code=2)
