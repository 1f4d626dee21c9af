"""How long packs will take: in proportion to what a trial took, whatever the clock says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations import prediction
from ablations.grid import Pack, cost, evaluation_cost, memory
from ablations.prediction import (
    Prediction,
    assumed,
    lacking_memory,
    memory_here,
    predict,
    too_large,
)
from hvae.config import RunConfig
from hvae.settings import override


def pack(**settings: Any) -> Pack:
    return Pack(
        "s", (override(RunConfig(), {"data.name": "digits", "train.epochs": 3, **settings}),)
    )


def test_a_run_takes_its_training_and_for_its_evaluation_as_much_a_flop() -> None:
    (run,) = pack().runs
    found = Prediction(1.0, 1e-9).seconds(pack())
    training = 1.0 + 1e-9 * cost(run)
    assert found == pytest.approx(training * (cost(run) + evaluation_cost(run)) / cost(run))


def test_the_wall_is_that_of_the_last_worker() -> None:
    packs = [pack(depth=depth) for depth in (4, 3, 1)]
    predicted = Prediction(0.0, 1e-9)
    four, three, one = map(predicted.seconds, packs)
    found = predicted.wall_seconds(packs, 2) - prediction.START_SECONDS
    assert found == pytest.approx(max(four, three + one))
    assert predicted.wall_seconds([], 2) == 0.0


def test_between_the_cheapest_and_the_costliest_it_goes_by_flops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def trial(run: RunConfig) -> float:
        asked.append(run.model.num_layers)
        return float(run.model.num_layers)

    monkeypatch.setattr(prediction, "_training_seconds", trial)
    packs = [pack(depth=depth) for depth in (3, 1, 4, 2)]
    found = predict(packs, "cpu")
    assert sorted(asked) == [1, 4]
    for one in packs:
        (run,) = one.runs
        assert found.start + found.slope * cost(run) == pytest.approx(run.model.num_layers)


@pytest.mark.usefixtures("untraced")
def test_a_trial_is_a_training_by_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 batches of 64, which are said to take a second."""

    def seconds(call: Callable[[], object], repeats: int, device: str) -> float:
        call()
        return 1.0

    monkeypatch.setattr("bench.throughput.clock.seconds", seconds)
    (run,) = pack().runs
    assert predict([pack()], "cpu") == Prediction(0.0, 3 * 1437 / 1024 / cost(run))
    assert predict([], "cpu").wall_seconds([], 1) == 0.0
    assert predict([pack()], "cuda") == assumed("cuda")  # no GPU is asked


def test_runs_of_each_kind_take_what_those_of_their_kind_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    took = {64: 1.0, 8: 9.0}
    monkeypatch.setattr(prediction, "_training_seconds", lambda run: took[run.train.batch_size])
    large, small = (pack(**{"train.batch_size": size}) for size in took)
    found = predict([large, small], "cpu").seconds
    assert found(small) - found(large) == pytest.approx(8.0)  # both are evaluated alike


def test_a_costlier_run_that_chance_made_faster_predicts_no_negative_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction, "_training_seconds", lambda run: 2.0 / run.model.num_layers)
    found, (deep,) = predict([pack(depth=1), pack(depth=2)], "cpu"), pack(depth=2).runs
    assert (found.start, found.slope) == (0.0, 1.0 / cost(deep))


@pytest.mark.usefixtures("untraced")
def test_the_fastest_try_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter((0.4, 0.3, 0.1, 0.2, 0.3))
    monkeypatch.setattr("bench.throughput.clock.seconds", lambda *given: next(took))
    (run,) = pack().runs
    assert prediction._training_seconds(run) == pytest.approx(0.1 * 3 * 1437 / 1024)


def test_what_does_not_fit_the_memory_is_said_with_what_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packs = [pack(depth=depth) for depth in (1, 2, 3)]
    largest = sum(sorted(map(memory, packs))[-2:])
    monkeypatch.setattr(prediction, "memory_here", lambda: largest)
    assert lacking_memory(packs, 2) == ""
    monkeypatch.setattr(prediction, "memory_here", lambda: 0.6 * largest)
    line = lacking_memory(packs, 2)
    assert line.startswith("memory: 2 workers need ")
    assert line.endswith("--workers 1")


def test_so_many_workers_are_advised_as_fit_with_the_largest_packs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {1: 10.0, 2: 1.0, 3: 1.0, 4: 1.0}
    monkeypatch.setattr(prediction, "memory", lambda pack: sizes[pack.runs[0].model.num_layers])
    monkeypatch.setattr(prediction, "memory_here", lambda: 11.0)
    packs = [pack(depth=depth) for depth in sizes]
    assert lacking_memory(packs, 4).endswith("--workers 2")
    assert lacking_memory(packs, 2) == ""


@pytest.mark.parametrize(
    ("own", "file", "limit", "is_bound"),
    [
        ("0::/\n", "memory.max", "1000000\n", True),
        ("0::/\n", "memory.max", "max\n", False),
        ("0::/slurm/job_7/step_0\n", "slurm/job_7/memory.max", "1000000", True),
        ("0::/slurm/job_7\n", "slurm/job_8/memory.max", "1000000", False),
        ("3:cpu:/a\n2:pids,memory:/a/b\n", "memory/a/memory.limit_in_bytes", "1000000", True),
    ],
)
def test_a_container_and_a_job_bound_the_memory(
    own: str,
    file: str,
    limit: str,
    is_bound: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction, "CGROUPS", tmp_path)
    monkeypatch.setattr(prediction, "OWN_CGROUPS", tmp_path / "own")
    machine = memory_here()
    (tmp_path / "own").write_text(own)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(limit)
    assert memory_here() == (1e6 if is_bound else machine)


def test_what_alone_does_not_fit_the_memory_is_said_and_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction, "_training_seconds", pytest.fail)
    packs = [pack(), pack(depth=3000, latent=1000)]
    monkeypatch.setattr(prediction, "memory_here", lambda: memory(packs[1]) - 1)
    line = lacking_memory(packs, 1)
    assert line == too_large(packs)
    assert line.startswith("memory: pack '1 run' needs ")
    assert predict(packs, "cpu") == assumed("cpu")
    assert too_large(packs[:1]) == too_large([]) == ""
