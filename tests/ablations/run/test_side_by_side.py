"""What maps like `map`, in workers."""

import os

import pytest

from ablations.run import side_by_side
from ablations.run.side_by_side import FEWEST_RUNS, mapping
from hvae.processes import WorkerFailed


def identify(task: int) -> tuple[int, int]:
    return task, os.getpid()


def fail(task: int) -> None:
    raise ValueError(f"no {task}")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "core_count", lambda: 2)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_results_come_in_order_from_a_worker_on_each_core(count: int) -> None:
    with mapping(FEWEST_RUNS) as each:
        results = list(each(identify, range(count)))
    assert [task for task, _ in results] == list(range(count))
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    assert len(processes) == min(count, 2)


def test_what_a_worker_raises_is_raised_here() -> None:
    with mapping(FEWEST_RUNS) as each, pytest.raises(WorkerFailed, match="ValueError: no 0"):
        list(each(fail, [0, 1]))


def test_few_runs_and_a_single_core_are_no_reason_for_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with mapping(FEWEST_RUNS - 1) as each:
        assert each is map
    monkeypatch.setattr(side_by_side, "core_count", lambda: 1)
    with mapping(FEWEST_RUNS) as each:
        assert each is map
