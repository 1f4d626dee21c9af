"""`import hvae` offers what the commands do, and imports nothing heavy before it is asked."""

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import record

import hvae
from ablations.grid import runs
from ablations.presets import PRESETS
from ablations.run.launch import Launch
from ablations.studies import Study
from hvae.config import RunConfig, TrainConfig
from hvae.records.standings import Standing
from hvae.records.store import Store
from hvae.settings import SETTINGS, digest

ROOT = Path(__file__).parent.parent


def test_nothing_heavy_is_imported_before_it_is_asked_for(run_python: Callable[..., str]) -> None:
    code = "import sys, hvae; dir(hvae); print({'torch', 'pandas', 'numpy'} & sys.modules.keys())"
    assert run_python(code) == "set()"


def test_every_name_that_is_offered_is_there() -> None:
    assert {getattr(hvae, name).__name__ for name in hvae.FROM_PYTHON} == set(hvae.FROM_PYTHON)
    assert set(hvae.FROM_PYTHON) <= set(dir(hvae))
    with pytest.raises(AttributeError, match="module 'hvae' has no attribute 'load'"):
        hvae.load  # noqa: B018


def test_records_of_a_study_and_of_a_folder_of_studies_are_a_row_each(tmp_path: Path) -> None:
    runs = [RunConfig(train=TrainConfig(seed=seed)) for seed in (0, 1)]
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        store.open_for_writing()
        for run in runs:
            store.write(record(run, study=name))
    frame = hvae.load_records(tmp_path)
    assert frame["study"].tolist() == ["one", "one", "two", "two"]
    assert sorted(frame["seed"]) == [0, 0, 1, 1]
    assert {*SETTINGS, "digest", "status", "parameters", "nll_nats"} <= set(frame)
    alone = hvae.load_records(str(tmp_path / "two"))
    assert alone["digest"].tolist() == frame["digest"].tolist()[2:]
    assert isinstance(alone["kl_per_level_nats"][0], list)
    assert frame["is_stale"].all()  # made up


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^path: no record under .*; allowed: a folder with some"):
        hvae.load_records(tmp_path)


def test_a_device_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^device: 'mps' is not allowed; allowed: auto"):
        hvae.run("quick", device="mps", results=tmp_path)


def test_runs_that_fail_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = [Standing(RunConfig(), "d", "failed", "RuntimeError: told to")]
    monkeypatch.setattr("ablations.api.train_missing", lambda *_: lost)
    told = r"^study: no run of 'quick' is recorded: RuntimeError: told to$"
    with pytest.raises(ValueError, match=told):
        hvae.run("quick", results=tmp_path)
    assert (
        "1 of 1 runs failed; `hvae status quick`, narrowed alike, lists them"
        in capsys.readouterr().err
    )


def test_runs_of_a_study_with_variants_say_of_which_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Launch] = []

    def train(study: Study, store: Store, launch: Launch) -> list[Standing]:
        launched.append(launch)
        found = [(run, digest(run)) for run in runs(study)]
        lost = Standing(*found[0], "failed", "told to")
        done = [Standing(r, d, "done", record=record(r, study=study.name)) for r, d in found[1:]]
        return [lost, *done]

    monkeypatch.setattr("ablations.api.train_missing", train)
    path = tmp_path / "mine.toml"
    path.write_text(
        'seeds = 2\n[[variants]]\nname = "one"\n[[variants]]\nname = "elbo"\n'
        'set = { objective = "elbo" }\n'
    )
    asked = {"workers": 3, "throughput": False, "keep_weights": True, "redo_stale": True}
    frame = hvae.run(path, results=tmp_path, data_dir="d", device="cpu", **asked)
    assert frame[["variant", "objective", "seed"]].values.tolist() == [
        ["elbo", "elbo", 0],
        ["one", "documented", 1],
        ["elbo", "elbo", 1],
    ]
    said = {"redo_stale": True, "keeps_weights": True, "is_timed": False}
    assert launched[0] == Launch(Path("d"), "cpu", 3, **said)
    few = hvae.run(path, results=tmp_path, seeds=3, variants=["elbo"])
    assert few[["variant", "seed"]].values.tolist() == [["elbo", 1], ["elbo", 2]]
    assert "variant" not in hvae.run("quick", results=tmp_path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder in which README's snippet was run, its names, and what it printed."""
    folder, found, said = tmp_path_factory.mktemp("snippet"), dict[str, Any](), io.StringIO()
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with contextlib.chdir(folder), contextlib.redirect_stdout(said):
        exec(snippet, found)
    return folder, found, said.getvalue()


def test_a_study_is_run_and_its_runs_are_rows(ran: tuple[Path, dict[str, Any], str]) -> None:
    folder, found, said = ran
    frame = found["runs"]
    head, *rows = said.splitlines()
    assert head.split() == ["depth", "seed", "nll_nats"]
    assert len(rows) == len(frame) == 6
    settings = ["depth", "latent", "train.epochs", "status"]
    expected = [[depth, 2, 5, "finished"] for depth in (1, 2) for _ in range(3)]
    assert sorted(frame[settings].values.tolist()) == expected
    assert not frame["is_stale"].any()
    again = hvae.run(
        PRESETS["quick"],
        axes={"depth": [1, 2], "latent": [2], "loss": ["bce"]},
        settings={"train.epochs": 5},
        results=folder / "results",
        throughput=False,
    )
    assert again.equals(frame)
    everything = found["everything"].set_index("digest").loc[frame["digest"]].reset_index()
    assert everything[[*frame]].equals(frame)


def test_the_model_that_is_published_does_what_its_page_prints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    found = dict[str, Any]()
    page = (ROOT / "hvae" / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(snippet, found)
    assert found["drawn"].shape == (64, 784)
    assert found["again"].shape == (10, 784)
    nats = found["nll"]
    assert nats.shape == (10,)
    assert 50 < nats.min() < nats.max() < 200


def test_a_model_is_found_among_them(ran: tuple[Path, dict[str, Any], str]) -> None:
    folder, found, _ = ran
    assert isinstance(found["model"], hvae.HierarchicalVAE)
    path, asked = folder / "results" / "quick", {"model.num_layers": 1, "seed": 2}
    model = hvae.load_model(path, settings=asked)
    assert (model.config.num_layers, model.config.latent_dim) == (1, 2)
    listed = hvae.load_model(path, settings=asked | {"model.latent_dims": []})
    assert listed.config == model.config
    with pytest.raises(ValueError, match=r"^study: 0 runs under .*, depth 3"):
        hvae.load_model(path, settings={"depth": 3})
