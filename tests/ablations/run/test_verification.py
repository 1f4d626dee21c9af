"""A record that is trained again is what it was, or it is said what is not."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import record
from click.testing import CliRunner, Result

from ablations.cli.main import main
from ablations.grid import runs
from ablations.presets import PRESETS
from ablations.run.executors import Outcome, Serial
from ablations.run.launch import Launch
from ablations.run.pack import Finished, Task
from ablations.run.verification import compare, verify
from ablations.studies import narrow
from hvae.config import RunConfig
from hvae.processes import WorkerDied
from hvae.records.sources import sources_sha256
from hvae.records.store import Store

AXES = {"depth": [1], "loss": ["bce"], "latent": [2]}
SETTINGS = {"train.epochs": 1, "evaluation.importance_samples": 10}
ONE = ("quick", "--depth", "1", "--loss", "bce", "--latent", "2", "--seeds", "1", "--epochs", "1")
ONE = (*ONE, "--importance-samples", "10", "--no-throughput", "--no-report", "--executor", "serial")


def call(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["run", *ONE, "--results", str(folder), *words])


def test_a_run_is_equal_bit_for_bit_and_a_changed_number_is_named(tmp_path: Path) -> None:
    assert call(tmp_path).exit_code == 0
    store = Store(tmp_path / "quick")
    (made,) = store
    before = sorted(tmp_path.rglob("*"))
    result = call(tmp_path, "--verify")
    assert result.exit_code == 0
    assert "numbers are equal, bit for bit" in result.stdout
    assert sorted(tmp_path.rglob("*")) == before
    wrong = made.metrics | {"psnr_db": made.metrics["psnr_db"] + 1e-9}
    store.path(made.digest).unlink()
    store.write(replace(made, metrics=wrong))
    result = call(tmp_path, "--verify")
    assert result.exit_code == 1
    assert "1 of " in result.stdout
    assert "the first metrics.psnr_db: " in result.stdout
    assert "sources" not in result.stdout
    store.path(made.digest).unlink()
    store.write(replace(made, metrics=wrong, code=made.code | {"sources_sha256": "0" * 64}))
    assert "; made by other sources" in call(tmp_path, "--verify").stdout


def test_a_record_of_the_sources_at_hand_is_preferred_to_one_that_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, store = narrow(PRESETS["quick"], AXES, SETTINGS, seeds=2), Store(tmp_path / "quick")
    stale, current = map(record, runs(asked))
    store.open_for_writing()
    store.write(replace(stale, metrics=stale.metrics | {"psnr_db": 0.0}))
    store.write(replace(current, code=current.code | {"sources_sha256": sources_sha256()}))

    def train(self: Serial, function: Any, tasks: list[Task]) -> Iterator[Outcome[Task, Finished]]:
        yield from (Outcome(task, Finished(record(task.pack.runs[0]), {})) for task in tasks)

    monkeypatch.setattr(Serial, "map", train)
    found = verify(asked, store, Launch(executor="serial", device="cpu"))
    assert found.is_equal
    assert found.line.startswith(current.digest)
    wider = narrow(PRESETS["quick"], AXES | {"data.name": ["digits", "mnist"]}, SETTINGS, seeds=2)
    assert verify(wider, store, Launch(tmp_path, executor="serial", device="cpu")).is_equal


def test_what_is_no_number_is_as_its_record_has_it() -> None:
    now = record(RunConfig())
    now = replace(now, status="diverged", metrics=now.metrics | {"psnr_db": math.nan})
    then = replace(now, metrics=now.metrics | {"psnr_db": None})
    assert compare(then, now).is_equal
    assert not compare(then, replace(now, metrics=now.metrics | {"psnr_db": 1.0})).is_equal


def test_a_worker_that_died_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "quick").open_for_writing()
    (run,) = runs(narrow(PRESETS["quick"], AXES, SETTINGS, seeds=1))
    Store(tmp_path / "quick").write(record(run))
    for error, words in (
        (WorkerDied("killed by SIGKILL"), "a worker died: killed by SIGKILL"),
        (RuntimeError("CUDA out of memory"), "RuntimeError: CUDA out of memory"),
    ):
        dead = SimpleNamespace(error=error)
        monkeypatch.setattr(
            "ablations.run.executors.Serial.map", lambda *_, dead=dead: iter([dead])
        )
        result = call(tmp_path, "--verify")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.splitlines()[-1] == f"hvae: error: {words}"


@pytest.mark.parametrize("option", ["--redo-stale", "--keep-weights"])
def test_what_would_write_is_refused_beside_it(tmp_path: Path, option: str) -> None:
    result = call(tmp_path, "--verify", option)
    assert result.exit_code == 2
    assert f"{option}: has no meaning with --verify; allowed: one of the two" in result.stderr


def test_without_a_record_there_is_nothing_to_compare(tmp_path: Path) -> None:
    result = call(tmp_path, "--verify")
    assert result.exit_code == 2
    assert "results: no record of these runs under" in result.stderr
    assert not (tmp_path / "quick").exists()


@pytest.mark.parametrize(
    ("metric", "factor", "is_equal"),
    [
        ("nll_nats", 1.009, True),
        ("nll_nats", 1.02, False),
        ("nll_nats", None, False),
        ("rate_nats", 2.0, True),
    ],
)
def test_on_another_processor_some_metrics_agree_to_a_hundredth(
    metric: str, factor: float | None, is_equal: bool
) -> None:
    one = record(RunConfig())
    one.metrics["psnr_db"] = None  # as where both diverged
    metrics = one.metrics | {metric: factor and one.metrics[metric] * factor}
    other = replace(one, metrics=metrics, environment=one.environment | {"device_name": "other"})
    verdict = compare(one, other)
    assert verdict.is_equal is is_equal
    assert "with another device name" in verdict.line
    assert ("nll_nats not within 1%" in verdict.line) is not is_equal


@pytest.mark.parametrize(
    ("flags", "elsewhere"),
    [
        ({"engine": "traced", "pack_size": 4}, "engine"),
        ({"engine": "compiled", "pack_size": 4}, ""),
        ({"engine": "traced", "pack_size": 1}, "engine"),
    ],
)
def test_bits_depend_on_the_engine_and_of_the_traced_one_on_the_pack(
    flags: dict[str, Any], elsewhere: str
) -> None:
    one = record(RunConfig())
    here = {"flags": {"engine": "compiled", "pack_size": 1}}
    before = replace(one, environment=one.environment | here)
    changed = {"metrics": one.metrics | {"psnr_db": 0.0}}
    now = replace(before, environment=one.environment | {"flags": flags}, **changed)
    said = compare(before, now).line
    assert ("with another engine" in said) is ("engine" in elsewhere)
    assert ("then, 0.0 now" in said) is (not elsewhere)


def test_the_pack_of_the_traced_engine_is_told() -> None:
    one = record(RunConfig())
    alone, packed = (
        replace(one, environment={"flags": {"engine": "traced", "pack_size": n}}) for n in (1, 4)
    )
    changed = replace(packed, metrics=one.metrics | {"rate_nats": 0.0})
    assert compare(alone, changed).line.endswith("within 1%, with another pack size")


@pytest.mark.parametrize("name", ["device", "device_name", "threads", "torch"])
def test_bits_depend_on_where_it_was_trained(name: str) -> None:
    one = record(RunConfig())
    elsewhere = {"environment": one.environment | {name: "x"}}
    now = replace(one, metrics=one.metrics | {"rate_nats": 0.0}, **elsewhere)
    assert compare(one, now).line.endswith(f"within 1%, with another {name.replace('_', ' ')}")


@pytest.mark.parametrize(
    "name", ["elbo_nats", "nll_nats", "scoreboard_nll_nats", "loss_documented", "psnr_db"]
)
def test_each_of_some_metrics_must_agree_wherever_it_was_trained(name: str) -> None:
    one = record(RunConfig())
    elsewhere = {"environment": one.environment | {"device_name": "x"}}
    now = replace(one, metrics=one.metrics | {name: 1.02 * one.metrics[name]}, **elsewhere)
    assert not compare(one, now).is_equal
