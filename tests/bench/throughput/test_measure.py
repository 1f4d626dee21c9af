"""bench/throughput/measure.py: a fair clock over cells, tasks and batch sizes."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.throughput import measure as throughput
from bench.throughput import tasks
from bench.throughput.clock import seconds, timed
from bench.throughput.measure import measure, measure_everywhere
from bench.throughput.spread import spread
from bench.throughput.tasks import Task, Work
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images, load
from hvae.records.provenance import device_name

ENGINE, MODULE, INFERENCE, SAMPLING = TASKS = (
    *(Task("train_step", engine) for engine in ("traced", "module")),
    *(Task(name, "module") for name in ("inference", "sampling")),
)
IMAGES = load(DataConfig("digits"), Path())
SECONDS = 1e-2
OWN = 64  # images of a batch of a cell
KEYS = {
    *(
        "task",
        "engine",
        "batch_size",
        "is_best_batch",
        "device",
        "device_name",
        "threads",
        "repeats",
    ),
    *("images_per_second", "lower_quartile", "upper_quartile"),
}


def cell(latent: int = 3, depth: int = 2) -> RunConfig:
    model = ModelConfig(64, 12, latent, depth)
    return RunConfig(model, TrainConfig(batch_size=OWN), DataConfig("digits"))


@pytest.fixture(autouse=True)
def best(untraced: None, monkeypatch: pytest.MonkeyPatch) -> dict[Task, int]:
    """The best batch of each task, in place of a search; there may be no compiler here."""
    sizes = {ENGINE: OWN, MODULE: OWN, INFERENCE: 16, SAMPLING: 32}

    monkeypatch.setattr(throughput, "best_batch", lambda task, *given: sizes[task])
    monkeypatch.setattr(throughput, "tasks", lambda run, device: TASKS)
    return sizes


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was timed, call by call; nothing is really built. A call takes 0.25 s of our clock."""
    timed: list[Any] = []

    def count(call: Any, repeats: int, device: str) -> float:
        timed.append((call, repeats))
        return 0.25 * repeats

    monkeypatch.setattr(throughput, "seconds", count)
    monkeypatch.setattr(throughput, "build", lambda *given: Work(lambda: None, OWN))
    return timed


def test_each_cell_has_every_task_at_its_own_batch_size_and_at_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(tasks.EPOCH_IMAGES, "cpu", OWN)
    cells = [cell(latent=2), cell(latent=5)]
    measured = measure(cells, IMAGES, "cpu", SECONDS)
    assert len(measured) == len(cells)
    for run, found in zip(cells, measured, strict=True):
        assert {Task(values["task"], values["engine"]) for values in found} == set(TASKS)
        assert sum(values["batch_size"] == run.train.batch_size for values in found) == len(TASKS)
        for values in found:
            assert values.keys() == KEYS
            assert 0 < values["lower_quartile"] <= values["images_per_second"]
            assert values["images_per_second"] <= values["upper_quartile"]
            assert values["repeats"] == throughput.ROUNDS
            assert (values["device"], values["device_name"]) == ("cpu", device_name("cpu"))
            assert values["threads"] == torch.get_num_threads()


@pytest.mark.usefixtures("calls")
def test_one_measurement_a_task_is_the_best_and_may_be_that_of_the_own_size(
    best: dict[Task, int],
) -> None:
    (found,) = measure([cell()], IMAGES, "cpu", SECONDS)
    sizes: dict[Task, list[int]] = {}
    for values in found:
        task = Task(values["task"], values["engine"])
        sizes.setdefault(task, []).append(values["batch_size"])
        assert values["is_best_batch"] == (values["batch_size"] == best[task])
    assert sizes == {ENGINE: [OWN], MODULE: [OWN], INFERENCE: [OWN, 16], SAMPLING: [OWN, 32]}


def test_the_best_is_searched_for_the_widest_cell_of_each_depth(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    searched: list[tuple[int, int]] = []

    def search(task: Task, run: RunConfig, images: Images, device: str) -> int:
        searched.append((run.model.num_layers, run.model.latent_dim))
        return 16 * run.model.num_layers

    monkeypatch.setattr(throughput, "best_batch", search)
    found = measure([cell(2), cell(7), cell(5, 3), cell(3)], IMAGES, "cpu", SECONDS)
    assert sorted(searched) == [(2, 7)] * len(TASKS) + [(3, 5)] * len(TASKS)
    sizes = [{values["batch_size"] for values in of_cell} for of_cell in found]
    assert sizes == [{OWN, 32}, {OWN, 32}, {OWN, 48}, {OWN, 32}]


def test_every_cell_is_timed_in_every_round(
    monkeypatch: pytest.MonkeyPatch, best: dict[Task, int]
) -> None:
    """So that a slow moment of the machine is no slow depth."""
    cells, timed = [cell(depth=depth) for depth in (1, 2, 3)], []
    best.update(dict.fromkeys(TASKS, OWN))

    def count(call: Any, repeats: int, device: str) -> float:
        timed.append(call)
        return 0.25 * repeats

    def build(task: Task, run: RunConfig, *given: Any) -> Work:
        return Work((task, run.model.num_layers), OWN)  # type: ignore[arg-type]

    monkeypatch.setattr(throughput, "seconds", count)
    monkeypatch.setattr(throughput, "_calibrate", lambda *given: 1)
    monkeypatch.setattr(throughput, "build", build)
    measure(cells, IMAGES, "cpu", SECONDS)
    jobs = len(cells) * len(TASKS)
    rounds = [timed[i : i + jobs] for i in range(0, len(timed), jobs)]
    assert len(rounds) == throughput.ROUNDS
    assert all(set(each) == set(rounds[0]) and len(set(each)) == jobs for each in rounds)


def test_what_is_best_at_its_own_size_is_not_timed_twice(calls: list[Any]) -> None:
    measure([cell()], IMAGES, "cpu", SECONDS)
    calibrations = jobs = 4 + 2  # of its own size, of a best size that is another
    assert len(calls) == calibrations + jobs * throughput.ROUNDS


@pytest.mark.usefixtures("calls")
def test_the_rate_is_images_over_seconds() -> None:
    """With a clock of our own: the images of a batch in a call of 0.25 s."""
    own = [v for v in measure([cell()], IMAGES, "cpu", SECONDS)[0] if v["batch_size"] == OWN]
    for values in own:
        assert values["images_per_second"] == OWN / 0.25
        assert values["lower_quartile"] == values["upper_quartile"] == OWN / 0.25


def test_the_quartiles_are_those_of_the_values() -> None:
    keys = ("median", "lower_quartile", "upper_quartile")
    for values, expected in (([4.0, 1.0, 3.0, 2.0, 5.0], (3.0, 2.0, 4.0)), ([1, 3], (2, 1.5, 2.5))):
        assert spread(values) == dict(zip(keys, expected, strict=True))
    found = throughput._measurement(throughput.Job(0, INFERENCE, 8), [1.0, 3.0], "cpu", True)
    assert (found["images_per_second"], found["lower_quartile"]) == (2.0, 1.5)
    assert found["upper_quartile"] == 2.5


def test_seconds_are_those_of_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread works for half of each call."""
    now = [0.0]

    def call() -> None:
        now[0] += 0.5

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "thread_time", lambda: now[0] / 2)
    assert timed(call, 4, "cpu") == (1.0, 2.0)
    assert seconds(call, 4, "cpu") == 2.0


def test_repeats_fill_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(lambda: None, 8)
    monkeypatch.setattr(throughput, "seconds", lambda call, repeats, device: 0.1 * repeats)
    assert throughput._calibrate(work, "cpu", 1.0) == 10
    monkeypatch.setattr(throughput, "seconds", lambda call, repeats, device: 60.0 * repeats)
    assert throughput._calibrate(work, "cpu", 1.0) == 1


@pytest.mark.parametrize(("allowed", "longest"), [(1e9, throughput.SECONDS_PER_ROUND), (0.8, 0.01)])
def test_rounds_are_as_long_as_the_allowed_time_lets_them_be(
    allowed: float, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[float] = []

    def clock(works: Any, device: str, length: float) -> Any:
        lengths.append(length)
        return {}

    monkeypatch.setattr(throughput, "_clock", clock)
    measure([cell(), cell(4)], IMAGES, "cpu", allowed)  # 2 cells, 4 tasks, 2 batches, 5 rounds
    assert lengths == [longest] * 2


def test_every_round_times_every_job_once_in_an_order_of_its_own(calls: list[Any]) -> None:
    jobs = [throughput.Job(i, task, 8) for i in range(3) for task in TASKS]
    works = {job: Work(partial(int, number), 8) for number, job in enumerate(jobs)}
    throughput._clock(works, "cpu", 1e-4)
    timed = [call for call, _ in calls[len(jobs) :]]  # after the calibration
    rounds = [timed[start : start + len(jobs)] for start in range(0, len(timed), len(jobs))]
    assert len(rounds) == throughput.ROUNDS >= 5
    assert all(set(calls) == set(rounds[0]) for calls in rounds)
    assert len({tuple(map(id, calls)) for calls in rounds}) > 1


def test_a_gpu_is_measured_where_there_is_one_whatever_trains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[str] = []

    def note(cells: Sequence[RunConfig], images: Images, device: str, allowed: float) -> list[Any]:
        measured.append(device)
        return [[f"{device} for {allowed / SECONDS}"]]

    monkeypatch.setattr(throughput, "measure", note)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measure_everywhere([cell()], IMAGES, "cpu", SECONDS) == [["cpu for 1.0"]]
    assert measured == ["cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert measure_everywhere([cell()], IMAGES, "cpu", SECONDS) == [["cpu for 0.5", "cuda for 0.5"]]


def test_a_full_gpu_is_left_out_unless_it_is_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(cells: Sequence[RunConfig], images: Images, device: str, allowed: float) -> list[Any]:
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTry less")
        return [["cpu"]]

    monkeypatch.setattr(throughput, "measure", full)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.warns(UserWarning, match=r"no throughput measured on cuda: CUDA out of memory\.$"):
        assert measure_everywhere([cell()], IMAGES, "cpu", SECONDS) == [["cpu"]]
    with pytest.raises(torch.OutOfMemoryError):
        measure_everywhere([cell()], IMAGES, "cuda", SECONDS)


@pytest.mark.cuda
def test_a_gpu_is_measured_by_its_own_clock() -> None:
    (found,) = measure([cell()], IMAGES, "cuda", SECONDS)
    assert {values["device"] for values in found} == {"cuda"}
    assert all(values["images_per_second"] > 0 for values in found)
