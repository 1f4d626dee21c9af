"""From a pack to records, on the bundled digits."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablations.grid import Pack, Packing, packs, runs, without
from ablations.presets import PRESETS
from ablations.run.pack import Conditions, Finished, Task, proposal, run_pack, status
from ablations.run.throughput import shape
from ablations.studies import narrow
from hvae.closed_form import flops_per_image, parameter_count
from hvae.config import RunConfig
from hvae.model.hierarchy import with_weights
from hvae.native.build import c_compiler
from hvae.pictures.samples import samples
from hvae.records.attachments import read_arrays, read_weights
from hvae.records.provenance import code
from hvae.records.sources import SourcesChanged
from hvae.records.store import ARRAYS, WEIGHTS, Store
from hvae.settings import digest, override

ENGINES = ["traced", "compiled"] if c_compiler() else ["traced"]
BLOCK = {"measurements": [{"task": "train_step"}]}


@pytest.fixture(scope="module")
def pack() -> Pack:
    """Two cells, two seeds, one epoch."""
    axes = {"depth": (1,), "latent": (2,), "loss": ("bce", "mse")}
    evaluation = {"evaluation.importance_samples": 3, "evaluation.nll_images": 40}
    settings = {"train.epochs": 1, **evaluation}
    members = runs(narrow(PRESETS["quick"], axes, settings, seeds=2))
    (found,) = packs("quick", members, {digest(run) for run in members}, Packing(4))
    return found


def task_of(pack: Pack, **settings: Any) -> Task:
    conditions = Conditions(**{"data_dir": Path(), "device": "cpu", "code": code(), **settings})
    return Task(pack, conditions, {shape(run): BLOCK for run in pack.runs})


def run_all(pack: Pack, **settings: Any) -> list[Finished]:
    return list(run_pack(task_of(pack, **settings), lambda *_: None))


def science(finished: Finished) -> dict[str, Any]:
    """All of a record that is no clock's, and what lies beside it."""
    history = [{**entry, "seconds": None} for entry in finished.record.history]
    return {"metrics": finished.record.metrics, "history": history, "files": finished.files}


@pytest.fixture(scope="module")
def whole(pack: Pack) -> Callable[[str], list[Finished]]:
    """The whole pack, trained once by each engine."""
    return cache(lambda engine: run_all(pack, engine=engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_record_holds_all_that_design_promises(
    pack: Pack, whole: Callable[[str], list[Finished]], engine: str
) -> None:
    found = [finished.record for finished in whole(engine)]
    assert [record.run for record in found] == list(pack.runs)
    for record in found:
        assert record.status == "finished"
        assert record.parameters == parameter_count(record.run.model)
        assert record.flops_per_image == flops_per_image(record.run)
        assert [entry["epoch"] for entry in record.history] == [1]
        assert math.isfinite(record.metrics["scoreboard_nll_nats"])
        assert (record.metrics["importance_samples"], record.metrics["nll_images"]) == (3, 40)
        assert record.throughput == BLOCK
        assert record.environment["flags"] == {"pack_size": 4, "engine": engine}
        assert set(record.seconds) == {"train", "evaluate"}
        assert len(record.data_sha256) == len(record.code["sources_sha256"]) == 64


def test_the_nll_by_image_is_what_the_nll_is_the_mean_of(
    whole: Callable[[str], list[Finished]], tmp_path: Path
) -> None:
    for finished in whole(ENGINES[-1]):
        (tmp_path / "x.npz").write_bytes(finished.files[ARRAYS])
        beside = read_arrays(tmp_path / "x.npz")
        for name in ("nll_nats", "scoreboard_nll_nats"):
            if name in beside:
                assert len(beside[name]) == finished.record.run.data.dataset.test_images
                mean = float(beside[name].astype(float).mean())
                assert mean == pytest.approx(finished.record.metrics[name], rel=1e-6)
        assert "nll_nats" in beside


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_diverges_is_recorded_as_that_and_takes_no_other_along(
    pack: Pack, engine: str, tmp_path: Path
) -> None:
    sound = pack.runs[0]
    lost = replace(sound, train=replace(sound.train, learning_rate=1e30))
    store = Store(tmp_path)
    store.open_for_writing()
    for finished in run_all(Pack("quick", (sound, lost)), engine=engine):
        store.write(*finished)
    found = {record.run: record for record in store}
    assert (found[sound].status, found[lost].status) == ("finished", "diverged")
    assert math.isfinite(found[sound].metrics["nll_nats"])
    assert found[lost].metrics["elbo_nats"] is None


@pytest.mark.skipif(len(ENGINES) == 1, reason="needs a C compiler")
def test_the_traced_step_finds_what_the_compiled_one_does(
    whole: Callable[[str], list[Finished]],
) -> None:
    for one, other in zip(*map(whole, ENGINES), strict=True):
        # float32 over 23 steps.
        elbo = pytest.approx(other.record.metrics["elbo_nats"], rel=1e-4)
        assert one.record.metrics["elbo_nats"] == elbo


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_recorded_already_changes_no_bit_of_the_rest(
    pack: Pack, whole: Callable[[str], list[Finished]], engine: str
) -> None:
    expected = whole(engine)
    left = without(pack, {digest(run) for run in pack.runs[1:3]})
    resumed = run_all(left, engine=engine)
    assert [finished.record.run for finished in resumed] == [pack.runs[0], pack.runs[3]]
    assert list(map(science, resumed)) == [science(expected[0]), science(expected[3])]
    flags = {"pack_size": 2 if engine == "compiled" else 4, "engine": engine}
    assert resumed[0].record.environment["flags"] == flags


@pytest.mark.usefixtures("untraced")
def test_one_member_that_is_traced_makes_all_traced_whatever_is_recorded_already(
    pack: Pack,
) -> None:
    bce, mse = pack.runs[0], replace(pack.runs[1], train=replace(pack.runs[1].train, loss="mse"))
    other = replace(bce, train=replace(bce.train, loss="gaussian"))
    mixed = Pack("quick", (bce, mse, other))
    expected = run_all(mixed)
    (resumed,) = run_all(without(mixed, {digest(mse), digest(other)}))
    assert science(resumed) == science(expected[0])
    declined = "loss gaussian" if len(ENGINES) > 1 else "no C compiler"
    flags = {"pack_size": 3, "engine": "traced", "declined": declined}
    for finished in (resumed, *expected):
        assert finished.record.environment["flags"] == flags


@pytest.mark.parametrize(("engine", "evaluation"), [("traced", 2.0), ("compiled", 8.0)])
def test_seconds_are_shared_by_the_runs_that_took_them_together(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, engine: str, evaluation: float
) -> None:
    from hvae.evaluation.evaluate import Evaluation
    from hvae.training.fit import Fit

    def fit(runs: Any, *given: Any, **named: Any) -> Fit:
        return Fit([None] * len(runs), [[{"loss": 1.0}]] * len(runs), 8.0, engine, "")

    def evaluate(models: Any, *given: Any, **named: Any) -> Evaluation:
        return Evaluation([{"elbo_nats": -1.0}] * len(models), [{}] * len(models), 8.0)

    monkeypatch.setattr("hvae.training.fit.fit", fit)
    monkeypatch.setattr("hvae.evaluation.evaluate.evaluate", evaluate)
    monkeypatch.setattr("ablations.run.pack._files", lambda *given: {})
    found = [finished.record.seconds for finished in run_all(pack)]
    assert found == [{"train": 2.0, "evaluate": evaluation}] * 4


@pytest.mark.skipif(len(ENGINES) == 1, reason="needs a C compiler")
def test_each_run_of_the_compiled_step_is_known_before_the_next_is_evaluated(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hvae.evaluation import evaluate as module

    evaluated, real = [], module.evaluate

    def evaluate(models: Any, *rest: Any, **options: Any) -> Any:
        evaluated.append(len(models))
        return real(models, *rest, **options)

    monkeypatch.setattr(module, "evaluate", evaluate)
    for number, _ in enumerate(
        run_pack(task_of(pack, engine="compiled"), lambda *_: None), start=1
    ):
        assert evaluated == [1] * number


@pytest.mark.parametrize("keeps_weights", [False, True])
def test_every_run_leaves_pictures_and_where_asked_the_weights_that_drew_them(
    pack: Pack, tmp_path: Path, keeps_weights: bool
) -> None:
    for finished in run_all(pack, keeps_weights=keeps_weights):
        for suffix, content in finished.files.items():
            (tmp_path / f"run{suffix}").write_bytes(content)
        drawn = read_arrays(tmp_path / f"run{ARRAYS}")["samples"]
        assert (WEIGHTS in finished.files) == keeps_weights
        if keeps_weights:
            model = with_weights(finished.record.run, read_weights(tmp_path / f"run{WEIGHTS}"))
            np.testing.assert_array_equal(samples(model, len(drawn)), drawn)


def test_the_pictures_of_a_run_are_those_of_the_run_alone(pack: Pack, tmp_path: Path) -> None:
    """Within one grey level, and its NLLs closely: a traced pack is trained to other last
    digits."""
    (alone,), packed = run_all(Pack("quick", pack.runs[2:3])), run_all(pack)
    for name, finished in (("alone", alone), ("packed", packed[2])):
        (tmp_path / f"{name}.npz").write_bytes(finished.files[ARRAYS])
    expected, found = (read_arrays(tmp_path / f"{name}.npz") for name in ("alone", "packed"))
    assert alone.record.digest == packed[2].record.digest
    assert set(found) == set(expected)
    for name, array in expected.items():
        far = 1e-3 if name.endswith("nll_nats") else 1
        np.testing.assert_allclose(found[name].astype(float), array.astype(float), atol=far, rtol=0)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("engine", ENGINES)
def test_progress_ends_when_the_evaluation_does(pack: Pack, engine: str) -> None:
    seen: list[tuple[int, int]] = []
    longer = tuple(replace(run, train=replace(run.train, epochs=2)) for run in pack.runs)
    task = task_of(Pack("quick", longer), engine=engine)
    for _ in run_pack(task, lambda done, total: seen.append((done, total))):
        pass
    assert seen[0] == (1, 4)
    assert seen[-1] == (4, 4)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_pack_of_other_sources_is_refused_before_anything_is_imported(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {**code(), "sources_sha256": "others"}
    monkeypatch.setitem(sys.modules, "hvae.data.images", None)  # to import it is an ImportError
    with pytest.raises(SourcesChanged):
        next(run_pack(task_of(pack, code=others), lambda *_: None))


def test_sources_that_change_leave_no_record_after_that(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = run_pack(task_of(pack), lambda *_: None)
    next(unfinished)
    monkeypatch.setattr("hvae.records.sources.sources_sha256", lambda: "others")
    with pytest.raises(SourcesChanged):
        next(unfinished)


@pytest.mark.parametrize(
    ("loss", "elbo", "expected"),
    [(1.0, -1.0, "finished"), (math.nan, -1.0, "diverged"), (1.0, -math.inf, "diverged")],
)
def test_a_run_that_ends_in_no_number_diverged(loss: float, elbo: float, expected: str) -> None:
    assert status([{"loss": loss}], {"elbo_nats": elbo}) == expected


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({}, ""),
        ({"depth": 1, "model.prior_variance": "learned"}, ""),
        ({"model.prior_variance": "learned"}, "Gauss–Newton, without .* Fisher information"),
        ({"model.activation": "tanh"}, "Gauss–Newton, without the curvature of tanh"),
    ],
)
def test_a_record_says_where_the_proposal_is_an_approximation(
    settings: dict[str, Any], left_out: str
) -> None:
    assert re.fullmatch(left_out, proposal(override(RunConfig(), settings)))
