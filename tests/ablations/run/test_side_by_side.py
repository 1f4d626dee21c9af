"""What maps like `map`, in workers."""

import os
from collections import Counter

import pytest

from ablations.run import side_by_side
from ablations.run.side_by_side import FEWEST_RUNS, mapping
from hvae.processes import WorkerFailed


def identify(task: int) -> tuple[int, int]:
    return task, os.getpid()


def fail_at_0(task: int) -> int:
    if task == 0:
        raise ValueError(f"no {task}")
    return task


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "core_count", lambda: 2)


@pytest.mark.parametrize("count", [0, 1, 10])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_results_come_in_order_and_every_core_has_its_share(
    count: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "core_count", lambda: cores)
    with mapping(FEWEST_RUNS, __name__) as each:
        results = list(each(identify, range(count)))
    assert [task for task, _ in results] == list(range(count))
    processes = Counter(process for _, process in results)
    if count == 10:
        assert len(processes) == cores
        assert processes[os.getpid()] == {1: 10, 2: 3, 3: 2}[cores]  # half of what the others have


def test_what_a_worker_raises_is_raised_here() -> None:
    with mapping(FEWEST_RUNS, __name__) as each, pytest.raises(WorkerFailed, match="no 0"):
        list(each(fail_at_0, [0, 1, 2]))
    with (
        mapping(FEWEST_RUNS, "no_such_module") as each,
        pytest.raises(WorkerFailed, match="no_such"),
    ):
        list(each(identify, [0, 1]))


def test_few_runs_are_no_reason_for_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "start_worker", None)  # to call it raises
    with mapping(FEWEST_RUNS - 1, __name__) as each:
        assert list(each(abs, [-2, 1])) == [2, 1]
