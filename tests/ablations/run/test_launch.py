"""A grid with its training replaced: what is recorded when, and what is tried again."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import worker_functions as work
from builders import design, record
from displays import Shown, shared

from ablations.grid import Pack, runs
from ablations.presets import PRESETS
from ablations.run import launch as launching
from ablations.run.executors import Executor, Local, NodeDied, Serial
from ablations.run.launch import (
    Launch,
    conditions,
    own_throughput,
    run_study,
    say_what_is_lost,
    standings_of,
)
from ablations.run.pack import Conditions, Finished, Task
from ablations.run.recording import Recording
from ablations.run.throughput import shape
from ablations.studies import narrow
from hvae.config import RunConfig
from hvae.records.sources import SourcesChanged, sources_sha256
from hvae.records.store import WEIGHTS, Record, Store, UnreadableError
from hvae.settings import digest

PACK = Pack("quick", design({"depth": (1,), "latent": (2,)}, seeds=4).runs)
SOURCES = "cd" * 32
CONDITIONS = Conditions(Path(), "cpu", {"sources_sha256": SOURCES})
RunPack = Callable[[Task, work.Progress], Iterator[Finished]]


@pytest.fixture
def run(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Record]]:
    """The pack on an executor with this in place of `run_pack`: the records as they came."""

    def is_in_store(made: Record) -> None:
        assert store.read(made.digest) == made

    def do(run_pack: RunPack, executor: Executor | None = None) -> list[Record]:
        monkeypatch.setattr(launching, "run_pack", run_pack)
        shown = Shown(is_in_store)
        with shared(store, shown, SOURCES, store.folder / "claims") as sharing:
            run_study([PACK], store, executor or Serial(work.nothing), CONDITIONS, {}, sharing)
        return list(shown.records)

    return do


def seeds(records: list[Record]) -> list[int]:
    return [made.run.train.seed for made in records]


def finished(run: RunConfig) -> Finished:
    return Finished(record(run), {})


def test_every_run_is_recorded_before_the_next_one_ends(run: Any, store: Store) -> None:
    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        for number, member in enumerate(task.pack.runs):
            assert len(store.finished()) == number
            yield finished(member)

    assert seeds(run(run_pack)) == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", [2, 3])
def test_a_pack_whose_node_is_gone_is_tried_again_as_it_is(lost: int, run: Any) -> None:
    """Three times: then it may be what it asks of them."""
    tried: list[list[int]] = []

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        tried.append([member.train.seed for member in task.pack.runs])
        yield finished(task.pack.runs[0])
        if len(tried) <= lost:
            raise NodeDied("its node left the cluster")
        yield from map(finished, task.pack.runs[1:])

    assert sorted(seeds(run(run_pack))) == [0, 1, 2, 3]
    as_it_is = [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]
    assert tried == as_it_is[: lost + 1]


def test_a_pack_that_loses_too_many_nodes_is_halved(run: Any) -> None:
    tried: list[int] = []

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        tried.append(len(task.pack.runs))
        if len(tried) <= 4:
            raise NodeDied("its node left the cluster")
        yield from map(finished, task.pack.runs)

    assert sorted(seeds(run(run_pack))) == [0, 1, 2, 3]
    assert tried == [4, 4, 4, 4, 2, 2]


def test_one_run_that_fails_takes_no_other_along(run: Any, store: Store) -> None:
    tried: list[list[int]] = []

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        tried.append([member.train.seed for member in task.pack.runs])
        for member in task.pack.runs:
            if member.train.seed == 1:
                raise ArithmeticError("no luck")
            yield finished(member)

    assert sorted(seeds(run(run_pack))) == [0, 2, 3]
    assert tried == [[0, 1, 2, 3], [1, 2], [3], [1], [2]]  # the first is recorded: not again
    (failure,) = store.failed()
    assert failure == digest(PACK.runs[1])
    assert "in run_pack" in store.read_failure(failure).traceback


@pytest.mark.parametrize(("room", "failed"), [(2, 0), (1, 0), (0, 4)])
def test_a_pack_that_lacks_memory_is_tried_by_halves(
    run: Any, store: Store, room: int, failed: int
) -> None:
    tried: list[int] = []

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        tried.append(len(task.pack.runs))
        if len(task.pack.runs) > room:
            raise MemoryError("no room")
        yield from map(finished, task.pack.runs)

    assert len(run(run_pack)) == 4 - failed
    assert tried == ([4, 2, 2] if room == 2 else [4, 2, 2, 1, 1, 1, 1])
    assert len(store.failed()) == failed


@pytest.mark.parametrize(
    "executor", [Local(1, work.nothing), Local(2, work.nothing)], ids=["one", "two"]
)
def test_of_a_worker_that_dies_only_what_is_not_recorded_is_tried_again(
    run: Any, store: Store, executor: Executor
) -> None:
    """It dies of seed 2, always: in the pack, and by itself; the rest is there."""
    came = run(work.record_or_die, executor)
    assert sorted(seeds(came)) == [0, 1, 3]
    (failure,) = store.failed()
    assert failure == digest(PACK.runs[2])
    assert "exit code -9" in store.read_failure(failure).exception


def test_one_run_that_failed_and_runs_of_changed_sources_are_not_tried_again(store: Store) -> None:
    one, retries = Pack("quick", PACK.runs[:1]), Recording(store, SimpleNamespace()).retries
    assert [part.runs for part in retries(PACK, ValueError())] == [PACK.runs[:2], PACK.runs[2:]]
    assert retries(one, ValueError()) == []
    assert retries(PACK, SourcesChanged("edited")) == []


def test_changed_sources_are_said_once_and_nothing_is_tried_again(
    run: Any, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        yield finished(task.pack.runs[0])
        raise SourcesChanged("edited")

    assert seeds(run(run_pack)) == [0]
    assert capsys.readouterr().err == "edited\n"
    assert len(store.failed()) == 3


def test_a_disk_that_is_full_is_one_line_and_what_fits_is_recorded(
    run: Any, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Store.write

    def write(self: Store, made: Record, files: Any) -> bool:
        if made.run.train.seed in (1, 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, made, files)

    monkeypatch.setattr(Store, "write", write)

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        yield from map(finished, task.pack.runs)

    assert seeds(run(run_pack)) == [0, 3]
    assert capsys.readouterr().err == f"cannot write under {store.runs}: No space left on device\n"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), UnreadableError("of another user")], ids=str
)
def test_a_run_that_could_not_be_written_is_left_to_other_launchers(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write(self: Store, made: Record, files: Any) -> bool:
        raise error

    monkeypatch.setattr(Store, "write", write)
    released: list[str] = []
    said: list[str] = []
    sharing = SimpleNamespace(release=released.append, say_once=said.append, shown=Shown())
    recording = Recording(store, sharing)
    recording.publish(finished(PACK.runs[0]))
    assert released == [digest(PACK.runs[0])]
    assert recording.recorded == set()
    assert said == [f"cannot write under {store.runs}: {getattr(error, 'strerror', None) or error}"]


def test_a_record_that_cannot_be_read_in_the_end_is_a_failure(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = PRESETS["quick"]
    few = narrow(asked, {"depth": [1], "loss": ["bce"], "latent": [2]}, seeds=1)
    (one,) = runs(few)
    code = record(one).code | {"sources_sha256": sources_sha256()}
    store.write(replace(record(one), code=code))
    assert not say_what_is_lost(few, standings_of(few, store), Launch())
    store.path(digest(one)).write_text("{")
    assert say_what_is_lost(few, standings_of(few, store), Launch())
    assert "1 of 1 runs have records that cannot be read; `hvae status" in capsys.readouterr().err


def test_nodes_of_a_cluster_find_images_of_ones_own_by_the_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {"path": "own.npz", "sha256": "ab" * 32, "sizes": (9, 3, 8, 8)}
    own = replace(PACK.runs[0], data=replace(PACK.runs[0].data, name="own", **found))
    assert Launch(executor="ray", workers=1).located(own).data.path == str(tmp_path / "own.npz")
    assert Launch().located(own) == own


def test_nodes_of_a_cluster_find_named_data_by_the_whole_path() -> None:
    place: Any = SimpleNamespace(device="cpu", ask=lambda function, argument: "cpu")
    given = {"data_dir": Path("relative"), "workers": 1}
    for executor, directory in (("ray", Path("relative").absolute()), ("local", Path("relative"))):
        found = conditions(PACK.runs, Launch(executor=executor, **given), place)
        assert found.data_dir == directory


def test_what_was_timed_goes_with_its_pack(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    timed, seen = {shape(PACK.runs[0]): {"measurements": [1]}}, list[Any]()

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        seen.append(task.throughput)
        yield from map(finished, task.pack.runs)

    monkeypatch.setattr(launching, "run_pack", run_pack)
    with shared(store, Shown(), SOURCES, store.folder / "claims") as sharing:
        run_study([PACK], store, Serial(work.nothing), CONDITIONS, timed, sharing)
    assert seen == [timed]


def test_data_of_runs_that_are_recorded_are_not_asked_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {"depth": [1], "loss": ["bce"], "latent": [2], "data.name": ["mnist", "digits"]}
    asked = narrow(PRESETS["quick"], axes, seeds=1)
    recorded, missing = runs(asked)
    current = {"code": {"sources_sha256": sources_sha256()}}
    store.write(record(recorded, **current))

    def train(packs: list[Pack], *_: Any) -> None:
        store.write(record(packs[0].runs[0], **current))

    monkeypatch.setattr(launching, "run_study", train)
    launch = Launch(tmp_path / "empty", "cpu", executor="serial", is_timed=False)
    states = {s.digest: s.state for s in launching.train_missing(asked, store, launch)}
    assert states == {digest(recorded): "done", digest(missing): "done"}
    other = narrow(PRESETS["quick"], axes, seeds=2)
    with pytest.raises(ValueError, match=r"^mnist: .* is missing; get it with"):
        launching.train_missing(other, store, launch)


def test_a_task_has_the_throughput_of_its_own_shapes_alone() -> None:
    own = shape(PACK.runs[0])
    other = replace(own, model=replace(own.model, num_layers=9))
    own_block, other_block = {"measurements": [1]}, {"measurements": [2]}
    blocks = {own: own_block, other: other_block}
    assert own_throughput(PACK, blocks) == {own: own_block}


@pytest.mark.parametrize("workers", [0, -1, "2", 10_001])
def test_workers_that_cannot_be_are_refused_from_python_too(workers: Any) -> None:
    with pytest.raises(ValueError, match=f"workers: {workers!r} is not allowed; allowed: integers"):
        Launch(workers=workers)


@pytest.mark.parametrize("is_other", [True, False])
def test_weights_of_another_training_than_the_records_are_said(
    store: Store, capsys: pytest.CaptureFixture[str], is_other: bool
) -> None:
    """As where it was recorded on another machine."""
    first = record(PACK.runs[0])
    code = first.code | {"sources_sha256": SOURCES}
    store.write(replace(first, code=code, metrics=first.metrics | {"psnr_db": 1.0}))
    trained = replace(
        first,
        code=code,
        seconds={"train": 9.0},
        metrics=first.metrics | {"psnr_db": 2.0 if is_other else 1.0},
    )

    recording = Recording(store, SimpleNamespace(release=lambda name: None, shown=Shown()))
    recording.publish(Finished(trained, {WEIGHTS: b"weights"}))
    assert store.weights_path(first.digest).exists()
    told = "the weights are of a training whose numbers are not its record's" in (
        capsys.readouterr().err
    )
    assert told is is_other
