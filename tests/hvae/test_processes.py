"""Workers, one by one: what they can do, how they end. What is set in them is set for good."""

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import worker_functions as work

from hvae import processes
from hvae.processes import Worker, WorkerDied, WorkerFailed, lifeline, start_worker

RunPython = Callable[..., str]
MAPPED = """
import ctypes, sys
from hvae.processes import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()

class Info(ctypes.Structure):  # struct mallinfo2 of glibc's malloc.h; hblks: blocks mapped singly
    _fields_ = [(n, ctypes.c_size_t) for n in "arena ordblks smblks hblks hblkhd usmblks fsmblks \
uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.mallinfo2.restype = Info
before = libc.mallinfo2().hblks
libc.malloc(ctypes.c_size_t(int(sys.argv[2]) * 2**20))
print(libc.mallinfo2().hblks - before)
"""


@pytest.fixture
def worker() -> Iterator[Worker]:
    with lifeline() as line, start_worker(line, work.nothing) as started:
        yield started


def test_a_worker_says_how_far_it_is_what_it_found_and_that_it_is_done(worker: Worker) -> None:
    for _ in range(2):
        worker.call(work.count_to, 2)
        messages = [worker.receive() for _ in range(5)]
        assert messages == [
            *(("progress", (1, 2)), ("outcome", (1, None))),
            *(("progress", (2, 2)), ("outcome", (2, None))),
            ("end", None),
        ]
    worker.call(work.count_to, 4)
    assert worker.result() == 4


def test_what_a_call_raises_is_raised_with_the_traceback_of_the_worker(worker: Worker) -> None:
    worker.call(work.count_to, 1)
    with pytest.raises(WorkerFailed, match="ValueError: 1 is odd") as caught:
        worker.result()
    assert "in count_to" in str(caught.value.__cause__.__notes__)


def test_a_worker_has_this_search_path_ignores_ctrl_c_and_imports_no_torch(worker: Worker) -> None:
    worker.call(work.situation, 0)
    found = worker.result()
    assert found["path"] == list(dict.fromkeys(folder or os.getcwd() for folder in sys.path))
    assert found["is_interrupt_held"]  # also while it starts
    assert found["handler"] == signal.SIG_IGN
    assert not found["has_torch"]


def test_a_killed_worker_is_said_to_have_died_with_its_exit_code(worker: Worker) -> None:
    worker.process.kill()
    with pytest.raises(WorkerDied, match="exit code -9"):
        worker.receive()
    worker.call(work.count_to, 2)  # not an error either
    with pytest.raises(WorkerDied):
        worker.result()


def test_workers_exit_when_their_lifeline_is_cut_busy_or_idle_old_or_new() -> None:
    with lifeline() as line:
        workers = [start_worker(line, work.nothing) for _ in range(2)]
        workers[0].call(work.make_or_await, ("await", Path("/nowhere")))
    workers.append(start_worker(line, work.nothing))
    for worker in workers:
        assert worker.process.wait(work.LONG_SECONDS) == 1
        worker.stop()


def test_a_stopped_worker_is_gone(worker: Worker) -> None:
    worker.call(work.hold, Path(os.devnull))
    worker.stop()
    assert worker.process.returncode == -signal.SIGKILL


def test_a_function_of_main_is_refused_in_one_line(run_python: RunPython) -> None:
    code = """
from hvae.processes import lifeline, settle, start_worker
def own(task, progress): pass
with lifeline() as line, start_worker(line, settle) as worker:
    try:
        worker.call(own, 1)
    except ValueError as error:
        print(error)
"""
    assert run_python(code).startswith("function: 'own' of __main__")


def test_only_workers_that_take_every_core_have_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: [4, 5, 7])
    assert processes.own_cores(2) == [None, None]
    if hasattr(os, "sched_setaffinity"):
        assert processes.own_cores(4) == [4, 5, 7, 4]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
@pytest.mark.parametrize(
    ("how", "megabytes", "mapped"),
    [("as it is", "8", "1"), ("kept", "8", "0"), ("kept", "64", "1")],
)
def test_a_step_s_temporary_is_mapped_singly_unless_memory_is_kept(
    run_python: RunPython, how: str, megabytes: str, mapped: str
) -> None:
    assert run_python(MAPPED, how, megabytes) == mapped


def test_without_glibc_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("libc was asked"))
    assert processes.keep_freed_memory() is False


def test_importing_it_imports_no_torch(run_python: RunPython) -> None:
    assert run_python("import sys, hvae.processes; print('torch' in sys.modules)") == "False"


def test_the_usable_cores_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.usable_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 3}, raising=False)
    assert processes.usable_cores() == [3, 7]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert processes.usable_cores() == [0, 1]


def test_a_container_granted_two_of_four_cores_counts_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: [0, 1, 2, 3])
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    for granted, counted in ((2, 2), (4, 4), (8, 4)):
        monkeypatch.setattr("joblib.cpu_count", lambda granted=granted: granted)
        assert processes.core_count() == counted


@pytest.mark.parametrize(
    ("of_job", "counted"), [("2", 2), ("8", 4), ("two", 4), ("0", 4), ("²", 4)]
)
def test_a_job_of_slurm_counts_the_cores_that_it_asked_for(
    monkeypatch: pytest.MonkeyPatch, of_job: str, counted: int
) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", of_job)
    assert processes.core_count() == counted
