"""Where tasks are executed: in this process, or in workers of this machine. One call shape for all.

`executor.map(function, tasks, on_progress)` calls `function(task, progress)` for each task and
yields an `Outcome` for each result of it as soon as it is there, and one for what it raised: that
is an outcome, not an end. `progress(done, total)` is heard as `on_progress(task, done, total)`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from hvae import processes
from hvae.processes import Function, Worker, WorkerDied, attempt, core_count, settle

T = TypeVar("T")
R = TypeVar("R")
OnProgress = Callable[[T, int, int], None]  # task, done, total


def ignore(task: object, done: int, total: int) -> None:
    """What hears progress where nobody wants to."""


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """A task and either a result of it or what it raised, a worker's traceback in its notes."""

    task: T
    result: R | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Serial:
    """One task after the other in this process, which `prepare` alters for good."""

    prepare: Callable[[], None] = settle
    workers: int = 1

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        self.prepare()
        for task in tasks:
            for result, error in attempt(function, task, partial(on_progress, task)):
                yield Outcome(task, result, error)


@dataclass(frozen=True)
class Local:
    """Worker processes on this machine, `prepare` called in each before anything else.

    A worker that dies takes only its own task with it, whose outcome is `WorkerDied`. However
    `map` is left (end, Ctrl-C, an exception), no worker stays; if this process is killed, the
    workers notice and exit.
    """

    workers: int
    prepare: Callable[[], None] = settle

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        waiting, outcomes = deque(tasks), list[Outcome[T, R]]()
        with processes.lifeline() as line, ExitStack() as stack:
            workers = _Workers(self.workers, self.prepare, line, stack)
            while waiting or workers.busy or outcomes:
                while waiting and len(workers.busy) < self.workers:
                    workers.assign(function, waiting.popleft())
                yield from outcomes  # only now: no worker idles while the caller writes them
                outcomes = workers.hear(on_progress) if workers.busy else []


class _Workers:
    """The workers of one `map`: which are idle, which are at which task."""

    def __init__(
        self, count: int, prepare: Callable[[], None], line: Connection, stack: ExitStack
    ) -> None:
        self.prepare, self.line, self.stack = prepare, line, stack
        self.free_cores = processes.own_cores(count)
        self.idle: list[Worker] = []
        self.busy: dict[Connection, tuple[Worker, Any]] = {}

    def assign(self, function: Function[T, R], task: T) -> None:
        """Give a task to an idle worker, or to a new one."""
        if not self.idle:
            worker = processes.start_worker(self.line, self.prepare, self.free_cores.pop(0))
            self.idle.append(self.stack.enter_context(worker))
        worker = self.idle.pop()
        self.busy[worker.connection] = worker, task
        worker.call(function, task)

    def hear(self, on_progress: OnProgress[T]) -> list[Outcome[T, Any]]:
        """Wait until workers speak; pass progress on, return what there is and what was lost."""
        outcomes: list[Outcome[T, Any]] = []
        for connection in wait(list(self.busy)):
            assert isinstance(connection, Connection)
            worker, task = self.busy[connection]
            kind, value = self._message(worker)
            if kind == processes.PROGRESS:
                on_progress(task, *value)
            elif kind == processes.OUTCOME:
                outcomes.append(Outcome(task, *value))
            elif kind == processes.END:
                del self.busy[connection]
                self.idle.append(worker)
        return outcomes

    def _message(self, worker: Worker) -> tuple[str, Any]:
        """What a busy worker says; of one that died, that it did."""
        try:
            message: tuple[str, Any] = worker.receive()
        except WorkerDied as error:
            del self.busy[worker.connection]
            worker.stop()
            self.free_cores.append(worker.core)
            return processes.OUTCOME, (None, error)
        return message


Executor = Serial | Local


def choose(name: str, device: str, workers: int | None) -> Executor:
    """The executor of that name, local or serial; by default with one worker a core, on cuda one
    for the device."""
    if name == "serial":
        return Serial()
    return Local(workers or (core_count() if device == "cpu" else 1))


def resolve_device(name: str) -> str:
    """cpu or cuda, for `auto` whichever is there. Raises `ValueError` where cuda is asked in vain.

    Imports torch only where it has to ask.
    """
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise ValueError("device: 'cuda' is not there on this machine; allowed: auto, cpu")
    return "cpu"
