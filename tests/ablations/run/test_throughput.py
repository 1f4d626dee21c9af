"""What is timed of a study, and what is not timed again; the clock itself is replaced."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import worker_functions as work
from builders import design

from ablations.grid import Pack
from ablations.prediction import assumed
from ablations.run import throughput as module
from ablations.run.executors import NODES_LOST, Executor, Local, NodeDied, Outcome, Serial
from ablations.run.throughput import Timing, seconds_for, shape, throughput
from hvae.config import RunConfig, TrainConfig
from hvae.data.images import Images, load
from hvae.processes import WorkerDied
from hvae.records.sources import SourcesChanged, sources_sha256

RUNS = design({"depth": (1, 2), "loss": ("bce", "mse"), "latent": (2, 20)}, seeds=2).runs
TWICE = design({"data.binarize": ("none", "dynamic"), "latent": (2, 20)}, seeds=1).runs
MEASURE = "bench.throughput.measure.measure_everywhere"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """In place of the clock: the latent sizes of what is timed side by side; 20 of two levels
    cannot be timed."""
    groups: list[tuple[int, ...]] = []

    def measure(cells: Sequence[RunConfig], images: Images, *given: Any) -> list[Any]:
        assert images.sha256 == load(cells[0].data, Path()).sha256  # the runs' own
        groups.append(tuple(cell.model.latent_dim for cell in cells))
        if any(cell.model.num_layers == 2 and cell.model.latent_dim == 20 for cell in cells):
            raise MemoryError("no room\nfor so many")
        return [[{"task": "train_step", "latent": cell.model.latent_dim}] for cell in cells]

    monkeypatch.setattr(MEASURE, measure)
    return groups


def blocks(folder: Path, executor: Executor | None = None, **changes: Any) -> dict[Any, Any]:
    is_timed = changes.pop("is_timed", True)
    runs = changes.pop("runs", RUNS)
    timing = replace(Timing("cpu", sources_sha256(), Path(), 1.0, {"torch": "x"}), **changes)
    return throughput(runs, folder, executor or Serial(work.nothing), timing, is_timed)


def test_the_shape_of_a_run_knows_neither_seed_nor_loss_nor_what_is_trained_how_long() -> None:
    run = RUNS[0]
    same = TrainConfig("mse", "elbo", 7, 64, 0.1, seed=3, kl_weight=2.0, free_bits=1.0)
    assert shape(replace(run, train=same)) == shape(run)
    for other in (
        TrainConfig(batch_size=8),
        TrainConfig(objective="iwae", importance_samples=5),
        TrainConfig("gaussian"),  # which step.c does not train
    ):
        assert shape(replace(run, train=other)) != shape(run)
    darker = replace(run, data=replace(run.data, binarize="dynamic"))  # the step in C is faster
    assert shape(darker) != shape(run)
    assert len({shape(one) for one in RUNS}) == 4


def test_timing_takes_a_tenth_of_the_study_and_seconds_where_that_is_short() -> None:
    mnist = Pack("standard", (RunConfig(),) * 200)
    assert seconds_for([mnist, mnist], "cpu", 2) == pytest.approx(
        0.1 * assumed("cpu").seconds(mnist)
    )
    assert 0 < seconds_for([Pack("small", RUNS)], "cpu", 2) <= 10


def test_the_groups_of_a_study_share_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float] = []

    def measure(cells: Sequence[RunConfig], images: Images, device: str, share: float) -> list[Any]:
        allowed.append(share)
        return [[] for _ in cells]

    monkeypatch.setattr(MEASURE, measure)
    blocks(tmp_path, runs=TWICE, seconds=6.0)
    assert allowed == [3.0, 3.0]


def test_a_shape_that_cannot_be_timed_lacks_its_numbers_and_nothing_else(
    tmp_path: Path, timed: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = blocks(tmp_path)
    together, *alone = timed  # both depths
    assert sorted(together) == [2, 2, 20, 20]
    assert sorted(alone) == [(2,), (2,), (20,), (20,)]
    assert set(found) == {shape(run) for run in RUNS}
    for one, block in found.items():
        if (one.model.num_layers, one.model.latent_dim) == (2, 20):
            assert block == {"measurements": [], "error": "MemoryError: no room"}
        else:
            measured = {"task": "train_step", "latent": one.model.latent_dim}
            assert block["measurements"] == [measured]
            assert block["environment"]["device"] == "cpu"
    line = "no throughput measured of depth 2, latent size 20: MemoryError: no room"
    assert capsys.readouterr().err.splitlines() == [line]


class DiesLast(Serial):
    """Its worker dies when it has told all results."""

    def map(self, *given: Any) -> Iterator[Outcome[Any, Any]]:
        yield from super().map(*given)
        yield Outcome(None, error=WorkerDied("killed"))


class LosesNodes(Serial):
    """The node leaves so many times before anything is timed."""

    lost = 0

    def map(self, *given: Any) -> Iterator[Outcome[Any, Any]]:
        if self.lost < self.leave:
            object.__setattr__(self, "lost", self.lost + 1)
            yield Outcome(None, error=NodeDied("its node left the cluster"))
        else:
            yield from super().map(*given)

    leave = 1


@pytest.mark.parametrize(("leave", "is_timed"), [(1, True), (NODES_LOST + 1, False)])
def test_a_node_that_leaves_costs_no_shape_its_numbers(
    tmp_path: Path, timed: list[Any], monkeypatch: pytest.MonkeyPatch, leave: int, is_timed: bool
) -> None:
    monkeypatch.setattr(LosesNodes, "leave", leave)
    few = design({"depth": (1,), "latent": (2,)}, seeds=1).runs
    (block,) = blocks(tmp_path, LosesNodes(work.nothing), runs=few).values()
    assert bool(block["measurements"]) is is_timed
    assert ("error" not in block) is is_timed


@pytest.mark.usefixtures("timed")
def test_a_worker_that_dies_when_all_is_timed_costs_nothing(tmp_path: Path) -> None:
    few = design({"depth": (1,), "latent": (2,)}, seeds=1).runs
    assert blocks(tmp_path / "a", DiesLast(work.nothing), runs=few) == blocks(
        tmp_path / "b", runs=few
    )


def test_a_second_start_times_only_what_was_not_timed(tmp_path: Path, timed: list[Any]) -> None:
    first = blocks(tmp_path)
    timed.clear()
    assert blocks(tmp_path) == first
    assert timed == [(20,)]


def test_what_was_timed_is_kept_though_the_next_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[Any] = []

    def measure(cells: Sequence[RunConfig], *given: Any) -> Any:
        groups.append(cells)
        if len(groups) == 2:
            raise KeyboardInterrupt
        return [[] for _ in cells]

    monkeypatch.setattr(MEASURE, measure)
    with pytest.raises(KeyboardInterrupt):
        blocks(tmp_path, runs=TWICE)
    blocks(tmp_path, runs=TWICE)
    assert len(groups) == 3
    assert groups[1] == groups[2]


def test_other_sources_another_machine_and_a_damaged_file_are_timed_anew(
    tmp_path: Path, timed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks(tmp_path)
    for damaged in ("{", "[]", '{"measurements": 5}', "[" * 100_000):
        for path in (tmp_path / "throughput").iterdir():
            path.write_text(damaged)
        timed.clear()
        blocks(tmp_path)
        assert len(timed) == 5
    timed.clear()
    blocks(tmp_path, machine={"torch": "another"})
    assert len(timed) == 5
    monkeypatch.setattr("hvae.records.sources.sources_sha256", lambda: "others")
    timed.clear()
    blocks(tmp_path, sources_sha256="others")
    assert len(timed) == 5


def test_without_throughput_nothing_is_timed_and_what_is_kept_is_there(
    tmp_path: Path, timed: list[Any]
) -> None:
    assert all(block == {"measurements": []} for block in blocks(tmp_path, is_timed=False).values())
    assert timed == []
    first = blocks(tmp_path)
    timed.clear()
    kept = {one: block for one, block in first.items() if "error" not in block}
    assert kept.items() <= blocks(tmp_path, is_timed=False).items()
    assert timed == []


def test_sources_that_change_while_it_is_timed_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(cells: Any, *given: Any) -> list[Any]:
        monkeypatch.setattr("hvae.records.sources.sources_sha256", lambda: "others")
        return [[] for _ in cells]

    monkeypatch.setattr(MEASURE, edit)
    with pytest.raises(SourcesChanged):
        blocks(tmp_path)
    assert not (tmp_path / "throughput").exists()


def test_a_worker_that_dies_of_one_shape_costs_no_other_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "measure", work.measure_or_die)
    found = blocks(tmp_path, Local(1, work.nothing))
    died = {one: block for one, block in found.items() if "error" in block}
    assert {one.model.latent_dim for one in died} == {20}
    assert all(block["error"].startswith("WorkerDied") for block in died.values())
    assert sum(bool(block["measurements"]) for block in found.values()) == 2
