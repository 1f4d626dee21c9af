"""Executors, the same tests for each: outcomes, progress, deaths, and that no worker is left."""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

import pytest
import worker_functions as work

from ablations.run.executors import Executor, Local, Outcome, Serial, choose, resolve_device
from hvae.processes import WorkerDied, core_count, usable_cores

# As in a notebook: no file, no main guard. Ctrl-C works even where this was started without it.
PARENT = """
import signal, sys
from pathlib import Path
import worker_functions as work
from ablations.run.executors import Local

signal.signal(signal.SIGINT, signal.default_int_handler)
tasks = [Path(name) for name in sys.argv[1:]]
say = lambda task, done, total: print("held", flush=True)
try:
    list(Local(len(tasks), work.nothing).map(work.hold, tasks, say))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_every_result_of_a_task_is_an_outcome_and_so_is_what_it_raises(executor: Executor) -> None:
    outcomes = list(executor.map(work.count_to, range(4)))
    results = [(o.task, o.result) for o in outcomes if o.error is None]
    assert sorted(results) == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]
    errors = {o.task: o.error for o in outcomes if o.error is not None}
    assert {task: str(error) for task, error in errors.items()} == {1: "1 is odd", 3: "3 is odd"}
    assert isinstance(errors[1], ValueError)
    assert "in count_to" in "".join(traceback.format_exception(errors[1]))


def test_no_task_is_no_outcome(executor: Executor) -> None:
    assert list(executor.map(work.count_to, [])) == []


def test_progress_and_results_are_heard_in_their_order(executor: Executor) -> None:
    heard: list[object] = []
    for outcome in executor.map(work.count_to, [2], lambda *said: heard.append(said)):
        heard.append(outcome.result)
    assert heard == [(2, 1, 2), 1, (2, 2, 2), 2]


def test_an_outcome_names_its_own_task_not_a_copy(executor: Executor) -> None:
    task = [1, 2]
    (outcome,) = executor.map(work.process, [task])
    assert outcome.task is task


def test_one_worker_keeps_the_order() -> None:
    outcomes = Local(1, work.nothing).map(work.process, range(4))
    assert [outcome.task for outcome in outcomes] == [0, 1, 2, 3]


def test_outcomes_come_in_the_order_of_completion(tmp_path: Path) -> None:
    first, second = ("await", tmp_path / "done"), ("make", tmp_path / "done")
    outcomes = Local(2, work.nothing).map(work.make_or_await, [first, second])
    assert [outcome.task for outcome in outcomes] == [second, first]


def test_workers_are_other_processes_and_are_reused() -> None:
    processes = {o.result for o in Local(2, work.nothing).map(work.process, range(6))}
    assert os.getpid() not in processes
    assert len(processes) <= 2


def test_opened_workers_stay_for_the_next_tasks_and_end_with_the_block(tmp_path: Path) -> None:
    with Local(2, work.nothing).open(1) as workers:
        (first,) = workers.map(work.process, [0])
        again = list(workers.map(work.process, range(4)))
        assert first.result in {outcome.result for outcome in again}
        held = tmp_path / "held"

        def leave(*said: object) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            list(workers.map(work.hold, [held], leave))
    assert not work.is_held(held)


@pytest.mark.parametrize(("tasks", "started"), [(0, 0), (1, 1), (3, 2)])
def test_opening_starts_a_worker_for_each_task_but_no_more_than_there_are(
    tasks: int, started: int
) -> None:
    with Local(2, work.nothing).open(tasks) as workers:
        assert len(workers.idle) == started


def test_a_worker_that_dies_takes_only_its_own_task(workers: Executor) -> None:
    tasks = ["dies", "lives", "dies again", "lives on", "dies"]
    outcomes = list(workers.map(work.die, tasks))
    assert Counter(o.task for o in outcomes if o.result == "first") == Counter(tasks)
    lost = [o for o in outcomes if o.error is not None]
    assert [(o.task, type(o.error)) for o in lost] == [("dies", WorkerDied)] * 2
    assert sum(o.result == "last" for o in outcomes) == 3


def test_a_worker_that_died_idle_costs_no_task() -> None:
    with Local(2, work.nothing).open(2) as workers:
        for worker in workers.idle:
            worker.process.kill()
            worker.process.wait()
        outcomes = list(workers.map(work.die, ["lives", "lives on"]))
        assert [outcome.error for outcome in outcomes] == [None] * 4
        assert len(workers.idle) == 2


def only(outcomes: list[Outcome[int, object]]) -> BaseException:
    (outcome,) = outcomes
    return outcome.error


def test_an_exception_that_does_not_unpickle_arrives_as_text(workers: Executor) -> None:
    error = only(list(workers.map(work.raise_two_part, [0])))
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(work.TwoPartError("a", "b")))
    assert type(error) is RuntimeError
    assert str(error) == "TwoPartError: lost on the way"
    assert "in raise_two_part" in "".join(traceback.format_exception(error))


def test_a_result_that_does_not_pickle_is_an_error(workers: Executor) -> None:
    error = only(list(workers.map(work.return_a_generator, [0])))
    assert "generator" in str(error)


def test_leaving_early_ends_the_workers(tmp_path: Path) -> None:
    held = tmp_path / "held"

    def leave(*said: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        list(Local(1, work.nothing).map(work.hold, [held], leave))
    assert not work.is_held(held)


def test_ctrl_c_is_not_for_the_workers() -> None:
    (outcome,) = Local(1, work.nothing).map(work.interrupt_itself, [0])
    assert outcome.result == "survived"


def test_the_default_worker_has_one_thread_no_denormals_and_its_own_core() -> None:
    cores = usable_cores()
    local = choose("local", "cpu", None)
    assert local == Local(core_count())
    (outcome,) = local.map(work.settings, [0])
    assert outcome.error is None
    result = outcome.result
    expected = {"threads": 1, "omp": "1", "mkl": "1", "denormal": 0.0}
    assert {key: result[key] for key in expected} == expected
    own = [cores[0]] if core_count() == len(cores) else cores  # a container may be granted fewer
    assert result["cores"] in (None, own)


def test_a_container_granted_two_cores_of_three_gets_two_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hvae.processes.usable_cores", lambda: [0, 1, 2])
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    assert choose("local", "cpu", None).workers == 2


def test_cuda_gets_one_worker_unless_told_otherwise() -> None:
    assert choose("local", "cuda", None) == Local(1, device="cuda")
    assert choose("local", "cuda", 3) == Local(3, device="cuda")
    assert choose("serial", "cpu", 3) == Serial()


def test_without_a_driver_no_one_asks_torch_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # to import it raises
    monkeypatch.setattr("ablations.run.executors.DRIVER", "no-such-library.so")
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ValueError, match="'cuda' is not there"):
        resolve_device("cuda")


def test_cpu_is_the_cpu_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.run.executors._has_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [resolve_device(name) for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    held = [tmp_path / "first", tmp_path / "second"]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *map(str, held)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": work.search_path()},
        start_new_session=True,
    )
    assert [parent.stdout.readline() for _ in held] == ["held\n"] * 2
    if number == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(parent.pid, number)
    else:  # to the parent alone
        parent.send_signal(number)
    said, complaints = parent.communicate(timeout=work.LONG_SECONDS)
    assert said == ("interrupted\n" if number == signal.SIGINT else "")
    assert complaints == ""
    assert work.eventually(lambda: not any(map(work.is_held, held)))
