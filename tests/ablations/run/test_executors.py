import fcntl
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import worker_functions as work

from ablations.run.executors import Executor, Local, Serial, choose, worker_count
from ablations.run.outcomes import WorkerDied
from ablations.run.workers import GRACE_SECONDS
from hvae.processes import core_count, usable_cores

TIMEOUT_SECONDS = 30.0
EXECUTORS = [Serial(work.nothing), Local(1, work.nothing), Local(2, work.nothing)]
PARENT = """
    import sys
    from pathlib import Path
    import worker_functions as work
    from ablations.run.executors import Local

    if __name__ == "__main__":
        tasks = [Path(name) for name in sys.argv[1:]]
        say = lambda task, done, total: print("held", flush=True)
        try:
            list(Local(len(tasks), work.nothing).map(work.hold, tasks, say))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_every_task_has_one_outcome_and_its_result(executor: Executor) -> None:
    outcomes = list(executor.map(work.double, range(5)))
    assert sorted((o.task, o.result) for o in outcomes) == [(n, 2 * n) for n in range(5)]
    assert all(outcome.error is None for outcome in outcomes)


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_no_task_is_no_outcome(executor: Executor) -> None:
    assert list(executor.map(work.double, [])) == []


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_progress_is_heard_in_order_before_the_outcome(executor: Executor) -> None:
    heard: list[object] = []
    for outcome in executor.map(work.double, [3], lambda *said: heard.append(said)):
        heard.append(outcome.result)
    assert heard == [(3, 1, 2), (3, 2, 2), 6]


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_what_one_task_raises_leaves_the_others(executor: Executor) -> None:
    outcomes = {o.task: o for o in executor.map(work.refuse_odd, range(4))}
    assert [outcomes[n].result for n in range(4)] == [0, None, 2, None]
    error = outcomes[1].error
    assert isinstance(error, ValueError)
    assert str(error) == "1 is odd"
    assert "in refuse_odd" in "".join(traceback.format_exception(error))


def test_one_worker_keeps_the_order() -> None:
    assert [o.task for o in Local(1, work.nothing).map(work.double, range(4))] == [0, 1, 2, 3]


def test_outcomes_come_in_the_order_of_completion(tmp_path: Path) -> None:
    first, second = ("await", tmp_path / "done"), ("make", tmp_path / "done")
    outcomes = Local(2, work.nothing).map(work.make_or_await, [first, second])
    assert [outcome.task for outcome in outcomes] == [second, first]


def test_workers_are_other_processes_and_are_reused() -> None:
    processes = {o.result for o in Local(2, work.nothing).map(work.process, range(6))}
    assert os.getpid() not in processes
    assert len(processes) <= 2


def test_a_task_whose_worker_was_killed_is_tried_again(tmp_path: Path) -> None:
    tasks = [tmp_path / "killed", None, None]
    outcomes = list(Local(2, work.nothing).map(work.die_once, tasks))
    assert [o.result for o in outcomes] == ["survived"] * 3
    assert outcomes[-1].task == tasks[0]  # alone, when the others are through


def test_a_task_that_kills_its_worker_twice_is_an_error_and_the_grid_goes_on() -> None:
    outcomes = list(Local(2, work.nothing).map(work.die, [True, False, True, False]))
    assert [o.result for o in outcomes[:2]] == ["survived"] * 2
    assert [type(o.error) for o in outcomes[2:]] == [WorkerDied] * 2
    assert "exit code -9" in str(outcomes[-1].error)


def test_an_exception_that_does_not_unpickle_arrives_as_text() -> None:
    (outcome,) = Local(1, work.nothing).map(work.raise_two_part, [0])
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(work.TwoPartError("a", "b")))
    assert str(outcome.error) == "TwoPartError: lost on the way"
    assert "in raise_two_part" in "".join(traceback.format_exception(outcome.error))


def test_a_result_that_does_not_pickle_is_an_error() -> None:
    (outcome,) = Local(1, work.nothing).map(work.return_a_generator, [0])
    assert "generator" in str(outcome.error)


def test_leaving_early_ends_the_workers(tmp_path: Path) -> None:
    held = tmp_path / "held"

    def leave(*said: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        list(Local(1, work.nothing).map(work.hold, [held], leave))
    assert not is_held(held)


def test_leaving_stops_the_busy_at_once(tmp_path: Path) -> None:
    tasks = [("make", tmp_path / "made"), ("await", tmp_path / "never")]
    outcomes = Local(2, work.nothing).map(work.make_or_await, tasks)
    next(outcomes)
    left = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]  # a generator
    assert time.monotonic() - left < GRACE_SECONDS


def test_ctrl_c_is_not_for_the_workers() -> None:
    (outcome,) = Local(1, work.nothing).map(work.interrupt_itself, [0])
    assert outcome.result == "survived"


def test_the_default_worker_has_one_thread_no_denormals_and_its_own_core() -> None:
    cores = usable_cores()
    local = choose("local", worker_count("local", "cpu", None))
    assert local == Local(core_count())
    (outcome,) = local.map(work.settings, [0])
    assert outcome.error is None
    result = outcome.result
    assert result is not None
    expected = {"threads": 1, "omp": "1", "mkl": "1", "denormal": 0.0}
    assert {key: result[key] for key in expected} == expected
    own = [cores[0]] if core_count() == len(cores) else cores  # a container may be granted fewer
    assert result["cores"] in (None, own)


def test_a_container_granted_two_cores_of_three_gets_two_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hvae.processes.usable_cores", lambda: [0, 1, 2])
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    assert worker_count("local", "cpu", None) == 2


def test_with_fewer_workers_than_cores_none_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    from ablations.run import workers

    monkeypatch.setattr(workers, "usable_cores", lambda: [4, 5, 7])
    assert workers._pinned(2) == []
    assert workers._pinned(4) == ([4, 5, 7, 4] if hasattr(os, "sched_setaffinity") else [])


def test_cuda_gets_one_worker_unless_told_otherwise() -> None:
    assert choose("local", worker_count("local", "cuda", None)) == Local(1)
    assert choose("local", worker_count("local", "cuda", 3)) == Local(3)
    assert choose("serial", worker_count("serial", "cpu", 3)) == Serial()


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGKILL, "parent killed"), (signal.SIGINT, "Ctrl-C")]
)
def test_no_worker_outlives_its_parent(tmp_path: Path, number: int, ends: str) -> None:
    held = [tmp_path / "first", tmp_path / "second"]
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    parent = subprocess.Popen(
        [sys.executable, str(script), *map(str, held)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert [parent.stdout.readline() for _ in held] == ["held\n"] * 2, ends
    if number == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(parent.pid, number)
    else:
        parent.send_signal(number)
    said, complaints = parent.communicate(timeout=TIMEOUT_SECONDS)
    assert said == ("interrupted\n" if number == signal.SIGINT else "")
    assert complaints == ""
    assert eventually(lambda: not any(map(is_held, held)))


def test_an_outcome_names_its_own_task_not_a_copy() -> None:
    task = [1, 2]
    (outcome,) = Local(1, work.nothing).map(work.process, [task])
    assert outcome.task is task


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on the file."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
