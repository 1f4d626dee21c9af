"""Spawned worker processes of this machine, a pipe to each, so that one's death harms no other."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ablations.run.outcomes import (
    Function,
    OnProgress,
    Outcome,
    Progress,
    R,
    T,
    WorkerDied,
    attempt,
    ignore,
    reporter,
)
from hvae.processes import usable_cores

GRACE_SECONDS = 5.0  # an idle worker leaves by itself within milliseconds


@dataclass
class _Worker:
    """A spawned process and the pipe to it. A pipe each: no lock that a kill could leave taken."""

    process: SpawnProcess
    pipe: Connection
    core: int | None
    task: Any = None


@dataclass
class Crew:
    """The workers of one pass: who is free, who is at which task."""

    size: int
    prepare: Callable[[], None]
    idle: list[_Worker] = field(default_factory=list)
    busy: dict[Connection, _Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cores = deque(_pinned(self.size))

    def assign(self, function: Function[T, R], task: T) -> None:
        """Give a task to an idle worker, or to a new one."""
        worker = self.idle.pop() if self.idle else self._hire()
        worker.task = task
        self.busy[worker.pipe] = worker
        with contextlib.suppress(OSError):  # a worker dead already is found out by `listen`
            worker.pipe.send((function, task))

    def listen(self, on_progress: OnProgress[T] | None) -> list[Outcome[T, Any]]:
        """Wait until a worker speaks; pass progress on, return what was finished or lost."""
        outcomes: list[Outcome[T, Any]] = []
        for pipe in wait(list(self.busy)):
            assert isinstance(pipe, Connection)
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                outcomes.append(self._bury(pipe))
                continue
            if isinstance(message, Outcome):
                worker = self.busy.pop(pipe)
                self.idle.append(worker)
                outcomes.append(Outcome(worker.task, message.result, message.error))
            else:
                reporter(self.busy[pipe].task, on_progress)(*message)
        return outcomes

    def dismiss(self) -> None:
        """Let the idle go and stop the busy; none is left when this returns."""
        for worker in self.busy.values():
            worker.process.terminate()
        for worker in [*self.idle, *self.busy.values()]:
            worker.pipe.close()
        for worker in [*self.idle, *self.busy.values()]:
            worker.process.join(GRACE_SECONDS)
            worker.process.kill()
            worker.process.join()

    def _hire(self) -> _Worker:
        core = self.cores.popleft() if self.cores else None
        context = multiprocessing.get_context("spawn")  # fork and threads do not mix
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, core, self.prepare), daemon=True)
        with _interrupts_held():
            process.start()
        theirs.close()  # the worker's is the only copy, so its death is the end of the pipe
        return _Worker(process, ours, core)

    def _bury(self, pipe: Connection) -> Outcome[Any, Any]:
        worker = self.busy.pop(pipe)
        pipe.close()
        worker.process.join(GRACE_SECONDS)
        if worker.core is not None:
            self.cores.append(worker.core)
        died = f"worker {worker.process.pid} died (exit code {worker.process.exitcode})"
        return Outcome(worker.task, error=WorkerDied(f"{died}: killed, crashed or out of memory"))


def _serve(pipe: Connection, core: int | None, prepare: Callable[[], None]) -> None:
    """A worker's life: tasks in, progress and outcomes out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if core is not None:
        os.sched_setaffinity(0, {core})
    prepare()

    def report(done: int, total: int) -> None:
        pipe.send((done, total))

    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_portable(attempt(_call, pipe.recv_bytes(), report)))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(message: bytes, progress: Progress) -> Any:
    """Unpack and do what `Crew.assign` sent. Unpacking imports: hence here, after `prepare`."""
    function, task = pickle.loads(message)
    return function(task, progress)


def _portable(outcome: Outcome[Any, Any]) -> Outcome[Any, Any]:
    """The outcome in a form that survives the way to the parent, the traceback as a note.

    The task stays here: the parent has it. Some exceptions, and some results, do not survive
    pickling; a `RuntimeError` that says what they were takes their place.
    """
    sent = Outcome(None, outcome.result, outcome.error)
    lost = attempt(_round_trip, sent, ignore).error
    error = outcome.error or lost
    if error is None:
        return sent
    note = "In the worker:\n" + "".join(traceback.format_exception(error))
    if lost is not None:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return Outcome(None, error=error)


def _round_trip(value: Any, progress: Progress) -> Any:
    return pickle.loads(pickle.dumps(value))


def _pinned(workers: int) -> list[int]:
    """A core for each worker, or none: where the system cannot pin, or cores would stay free.

    With fewer workers than cores the system balances better: two grids started side by side
    would both be pinned to the same first cores.
    """
    cores = usable_cores()
    if workers < len(cores) or not hasattr(os, "sched_setaffinity"):
        return []
    return [cores[i % len(cores)] for i in range(workers)]


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold SIGINT back: a worker inherits the mask, so none dies of Ctrl-C while it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
