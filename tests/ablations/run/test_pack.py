"""From packs to records, on the bundled digits."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import worker_functions as work

from ablations.grid import packs, runs
from ablations.run import pack as runner
from ablations.run.executors import Executor, Local, Serial
from ablations.run.outcomes import Outcome
from ablations.run.pack import Finished, Task, cell, run_pack, run_study, status
from ablations.studies import PRESETS, Study, narrow
from bench.throughput import measure as throughput
from hvae.closed_form import parameter_count
from hvae.config import digest
from hvae.model import with_weights
from hvae.native.build import c_compiler
from hvae.pictures.samples import samples
from hvae.records.attachments import read_arrays, read_weights
from hvae.records.provenance import SourcesChanged, code
from hvae.records.store import PICTURES, Record, Store


@pytest.fixture
def study() -> Study:
    """Two cells, two seeds, one epoch."""
    axes = {"depth": (1,), "latent": (2,), "loss": ("bce", "mse")}
    return narrow(PRESETS["quick"], axes, {"train.epochs": 1, "evaluation.importance_samples": 3})


def grid(
    study: Study,
    store: Store,
    missing: set[str],
    size: int = 4,
    executor: Executor = Serial(prepare=work.nothing),  # noqa: B008
) -> list[Record]:
    """Run what is missing, by default in this process; the records in the order they came."""
    came: list[Record] = []
    cut = packs(study.name, runs(study), missing, size)
    failed = run_study(cut, store, executor, Path(), "cpu", code(), lambda *_: None, came.append)
    assert failed == 0
    return came


def test_a_record_holds_all_that_design_promises(study: Study, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open_for_writing()
    everything = {digest(run) for run in runs(study)}
    came = grid(study, store, everything)
    assert {record.digest for record in store} == {record.digest for record in came} == everything
    for record in store:
        assert record.status == "finished"
        assert record.parameters == parameter_count(record.run.model)
        assert [entry["epoch"] for entry in record.history] == [1]
        assert math.isfinite(record.metrics["scoreboard_nll_nats"])
        best = [m["task"] for m in record.throughput["measurements"] if m["is_best_batch"]]
        own = [m["task"] for m in record.throughput["measurements"] if m["batch_size"] == 64]
        assert set(best) == set(own) == {"inference", "sampling", "train_step"}
        engine = {"engine": "compiled"}
        if c_compiler() is None:
            engine = {"engine": "traced", "declined": "no C compiler"}
        assert record.environment["flags"] == {"pack_size": 4, **engine}
        assert set(record.seconds) == {"train", "evaluate"}
        assert len(record.data_sha256) == len(record.code["sources_sha256"]) == 64


def test_without_a_compiler_the_traced_step_finds_the_same(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("compiled", "traced"):
        store = Store(tmp_path / name)
        store.open_for_writing()
        found.append(grid(study, store, {digest(run) for run in runs(study)}))
        for module in (
            "ablations.run.pack",
            "hvae.training.compiled",
            "hvae.evaluation.likelihood",
        ):
            monkeypatch.setattr(f"{module}.library", lambda is_double=False: None)
    assert {record.environment["flags"]["engine"] for record in found[1]} == {"traced"}
    for one, other in zip(*found, strict=True):
        # float32 over 23 steps.
        assert one.metrics["elbo_nats"] == pytest.approx(other.metrics["elbo_nats"], rel=1e-4)


def test_the_same_pack_gives_the_same_metrics_bit_for_bit(study: Study, tmp_path: Path) -> None:
    (pack,) = packs("quick", runs(study), {digest(run) for run in runs(study)}, 4)
    task = Task(pack, tmp_path, "cpu", {cell(run): {} for run in pack.runs}, code())
    once, again = (run_pack(task, lambda *_: None) for _ in range(2))
    assert [done.record.metrics for done in once] == [done.record.metrics for done in again]
    losses = [[entry["loss"] for entry in done.record.history] for done in once]
    assert losses == [[entry["loss"] for entry in done.record.history] for done in again]
    assert [done.files for done in once] == [done.files for done in again]


@pytest.mark.parametrize("keeps_weights", [False, True])
def test_every_run_leaves_pictures_and_where_asked_the_weights_that_drew_them(
    study: Study, tmp_path: Path, keeps_weights: bool
) -> None:
    store = Store(tmp_path)
    store.open_for_writing()
    everything = {digest(run) for run in runs(study)}
    cut = packs(study.name, runs(study), everything, 4)
    serial, ignore = Serial(prepare=lambda: None), lambda *_: None
    run_study(
        cut, store, serial, Path(), "cpu", code(), ignore, ignore, keeps_weights=keeps_weights
    )
    for name in everything:
        drawn = read_arrays(store.pictures_path(name))["samples"]
        assert store.weights_path(name).exists() == keeps_weights
        if keeps_weights:
            model = with_weights(store.read(name).run, read_weights(store.weights_path(name)))
            np.testing.assert_array_equal(samples(model, len(drawn)), drawn)


def test_the_pictures_of_a_run_are_those_of_the_run_alone(study: Study, tmp_path: Path) -> None:
    """Within one grey level: a pack is trained to other last digits."""
    (pack,) = packs("quick", runs(study), {digest(run) for run in runs(study)}, 4)
    task = Task(pack, tmp_path, "cpu", {cell(run): {} for run in pack.runs}, code())
    alone = replace(task, pack=replace(pack, runs=pack.runs[2:3]))
    (one,), packed = run_pack(alone, lambda *_: None), run_pack(task, lambda *_: None)
    for name, content in (("alone", one), ("packed", packed[2])):
        (tmp_path / f"{name}.npz").write_bytes(content.files[PICTURES])
    expected, found = (read_arrays(tmp_path / f"{name}.npz") for name in ("alone", "packed"))
    assert one.record.digest == packed[2].record.digest
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name].astype(int), array.astype(int), atol=1)


def test_progress_ends_when_the_evaluation_does(study: Study, tmp_path: Path) -> None:
    (pack,) = packs("quick", runs(study), {digest(run) for run in runs(study)}, 4)
    seen: list[tuple[int, int]] = []
    task = Task(pack, tmp_path, "cpu", {cell(run): {} for run in pack.runs}, code())
    run_pack(task, lambda done, total: seen.append((done, total)))
    assert seen[0] == (1, 2)
    assert seen[-1] == (2, 2)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_pack_that_raises_leaves_failures_and_the_next_is_trained(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real = Store(tmp_path), runner.run_pack
    store.open_for_writing()

    def fails_for_seed_0(task: Task, progress: Any) -> list[Finished]:
        if task.pack.runs[0].train.seed == 0:
            raise RuntimeError("no luck")
        return real(task, progress)

    monkeypatch.setattr(runner, "run_pack", fails_for_seed_0)
    everything = {digest(run) for run in runs(study)}
    cut = packs(study.name, runs(study), everything, 2)
    executor = Serial(prepare=lambda: None)
    failed = run_study(cut, store, executor, Path(), "cpu", code(), lambda *_: None, lambda _: None)
    assert failed == len(store.failed()) == len(store.finished()) == 2
    assert "no luck" in store.read_failure(min(store.failed())).traceback
    monkeypatch.setattr(runner, "run_pack", real)
    grid(study, store, store.failed(), 2)
    assert store.finished() == everything
    assert not store.failed()


def test_stale_records_are_replaced_when_they_are_asked_for(study: Study, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open_for_writing()
    everything = {digest(run) for run in runs(study)}
    kept, stale, *_ = grid(study, store, everything)
    store.path(stale.digest).unlink()
    store.write(replace(stale, code={**stale.code, "sources_sha256": "other"}))
    before = store.path(kept.digest).stat().st_ino
    grid(study, store, {kept.digest, stale.digest})
    assert store.read(stale.digest).code == stale.code
    assert store.path(kept.digest).stat().st_ino == before  # of the same sources the first stays


@pytest.mark.parametrize(
    ("loss", "elbo", "expected"),
    [(1.0, -1.0, "finished"), (math.nan, -1.0, "diverged"), (1.0, -math.inf, "diverged")],
)
def test_a_run_that_ends_in_no_number_diverged(loss: float, elbo: float, expected: str) -> None:
    assert status([{"loss": loss}], {"elbo_nats": elbo}) == expected


def test_a_cell_is_a_run_without_its_seed(study: Study) -> None:
    assert len({cell(run) for run in runs(study)}) == 2


class Scarce(Serial):
    """Memory for packs of one run only."""

    tried: ClassVar[list[int]] = []

    def map(self, function: Any, tasks: Any, on_progress: Any = None) -> Any:
        for task in tasks:
            runs_of_task = getattr(getattr(task, "pack", None), "runs", (0,))
            self.tried.append(len(runs_of_task))
            if len(runs_of_task) > self.limit:
                yield Outcome(task, error=MemoryError("no room"))
            else:
                yield from super().map(function, [task], on_progress)

    limit: ClassVar[int] = 2


@pytest.mark.parametrize(("limit", "failed"), [(2, 0), (1, 4)])
def test_a_pack_out_of_memory_is_tried_once_more_by_halves(
    study: Study, tmp_path: Path, limit: int, failed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scarce, "limit", limit)
    monkeypatch.setattr(Scarce, "tried", [])
    store = Store(tmp_path)
    store.open_for_writing()
    cut = packs(study.name, runs(study), {digest(run) for run in runs(study)}, 4)
    executor = Scarce(prepare=lambda: None)
    assert failed == run_study(
        cut, store, executor, Path(), "cpu", code(), lambda *_: None, lambda _: None
    )
    assert Scarce.tried == [1, 4, 2, 2]  # the measurement of throughput, the pack, its halves
    assert len(store.failed()) == failed
    assert len(store.finished()) == 4 - failed


def test_a_pack_of_other_sources_is_refused_before_anything_is_imported(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pack,) = packs("quick", runs(study), {digest(run) for run in runs(study)}, 4)
    others = {**code(), "sources_sha256": "others"}
    task = Task(pack, tmp_path, "cpu", {cell(run): {} for run in pack.runs}, others)
    monkeypatch.setitem(sys.modules, "hvae.training", None)  # to import it is an ImportError
    with pytest.raises(SourcesChanged):
        run_pack(task, lambda *_: None)


def test_sources_that_change_while_throughput_is_measured_end_the_grid_untrained(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.open_for_writing()

    def edit(cells: Any, device: str) -> list[Any]:
        monkeypatch.setattr("hvae.records.provenance.sources_sha256", lambda: "others")
        return [[[] for _ in cells]]

    monkeypatch.setattr("bench.throughput.measure_everywhere", edit)
    with pytest.raises(SourcesChanged):
        grid(study, store, {digest(run) for run in runs(study)})
    assert list(store.runs.iterdir()) == []


def require_throughput_of_all_but_mse(store: Store, reason: str) -> None:
    for record in store:
        if record.run.train.loss == "mse":
            assert record.throughput["measurements"] == []
            assert record.throughput["error"].startswith(reason)
        else:
            assert {m["task"] for m in record.throughput["measurements"]} >= {"train_step"}
            assert "error" not in record.throughput


def test_a_cell_that_cannot_be_measured_lacks_its_numbers_and_nothing_else(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, real = Store(tmp_path), throughput.measure_everywhere
    store.open_for_writing()

    def scarce(cells: Any, device: str) -> Any:
        if any(one.train.loss == "mse" for one in cells):
            raise MemoryError("no room\nfor so many")
        return real(cells, device)

    monkeypatch.setattr(throughput, "measure_everywhere", scarce)
    everything = {digest(run) for run in runs(study)}
    assert {record.digest for record in grid(study, store, everything)} == everything
    require_throughput_of_all_but_mse(store, "MemoryError: no room")
    line = "no throughput measured of depth 1, mse, documented, latent 2: MemoryError: no room"
    assert capsys.readouterr().err.splitlines() == [line]


def test_a_worker_that_dies_of_one_cell_costs_no_other_its_numbers(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.open_for_writing()
    monkeypatch.setattr(runner, "measure", work.measure_or_die)
    everything = {digest(run) for run in runs(study)}
    came = grid(study, store, everything, executor=Local(1, work.nothing))
    assert {record.digest for record in came} == everything
    require_throughput_of_all_but_mse(store, "WorkerDied: worker ")
