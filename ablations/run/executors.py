"""Where tasks are executed: in this process, or in workers of this machine. One call shape for all.

`executor.map(function, tasks, on_progress)` calls `function(task, progress)` for each task and
yields an `Outcome` for each result of it as soon as it is there, and one for what it raised: that
is an outcome, not an end. A task is taken from `tasks` once there is a worker for it.
`progress(done, total)` is heard as `on_progress(task, done, total)`.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

from hvae import processes
from hvae.processes import (
    Function,
    Worker,
    WorkerDied,
    WorkerFailed,
    attempt,
    core_count,
    settle,
)
from hvae.records.sources import SourcesChanged

DEVICES = ("auto", "cpu", "cuda")
EXECUTORS = ("local", "serial", "ray")
DRIVER = "libcuda.so.1"  # of NVIDIA
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


def first(outcomes: Iterable[Outcome[T, R]]) -> R | None:
    """The first result; raises what was raised instead, `WorkerFailed` where that is nothing that a
    line of its own would explain."""
    outcome, *_ = outcomes
    error = outcome.error
    if error is None:
        return outcome.result
    if isinstance(error, ValueError | OSError | SourcesChanged | WorkerFailed):
        raise error
    raise WorkerFailed(f"{type(error).__name__}: {error}") from error


NODES_LOST = 3  # of a task at most: then it is no matter of its nodes


class NodeDied(WorkerDied):
    """A machine of a cluster that is gone: nothing that its task could help."""


class Executor(Protocol):
    """What executes tasks."""

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        """An outcome for each result of each task, and for what a task raised."""


class Place(Executor, Protocol):
    """Where tasks are executed."""

    @property
    def workers(self) -> int:
        """How many tasks at once."""

    @property
    def device(self) -> str:
        """cpu or cuda."""

    def open(self, tasks: int) -> AbstractContextManager[Executor]:
        """An executor for one `map` after the other, the first of so many tasks."""

    def ask(self, function: Callable[[T], R], argument: T) -> R:
        """The result of the function there; raises what it raises."""


@dataclass(frozen=True)
class Serial:
    """One task after the other in this process, which `prepare` alters for good."""

    prepare: Callable[[], None] = settle
    workers: int = 1
    device: str = "cpu"

    def open(self, tasks: int) -> AbstractContextManager[Executor]:
        """Itself: there is nothing to start."""
        return nullcontext(self)

    def ask(self, function: Callable[[T], R], argument: T) -> R:
        return function(argument)

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
    `map` or what was opened is left (end, Ctrl-C, an exception), no worker stays; if this process
    is killed, the workers notice and exit.
    """

    workers: int
    prepare: Callable[[], None] = settle
    device: str = "cpu"

    def ask(self, function: Callable[[T], R], argument: T) -> R:
        return function(argument)

    @contextmanager
    def open(self, tasks: int) -> Iterator["Workers"]:
        """Workers that stay for one `map` after the other, no more than `tasks` of them started
        now: side by side, while the first of them is the only one to be given something."""
        with processes.lifeline() as line, ExitStack() as stack:
            workers = Workers(self.workers, self.prepare, line, stack)
            for _ in range(min(tasks, self.workers)):
                workers.start()
            yield workers

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        with self.open(0) as workers:
            yield from workers.map(function, tasks, on_progress)


class Workers:
    """Processes: which are idle, which are at which task."""

    def __init__(
        self, count: int, prepare: Callable[[], None], line: Connection, stack: ExitStack
    ) -> None:
        self.count, self.prepare, self.line, self.stack = count, prepare, line, stack
        self.free_cores = processes.own_cores(count)
        self.idle: list[Worker] = []
        self.busy: dict[Connection, tuple[Worker, Any]] = {}

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        """As `Local.map`; to be heard to its end before the next."""
        waiting, outcomes = iter(tasks), list[Outcome[T, R]]()
        while True:
            for task in islice(waiting, self.count - len(self.busy)):
                self.assign(function, task)
            yield from outcomes  # only now: no worker idles while the caller writes them
            if not self.busy:
                return
            outcomes = self.hear(on_progress)

    def start(self) -> None:
        """One more idle worker."""
        worker = processes.start_worker(self.line, self.prepare, self.free_cores.pop(0))
        self.idle.append(self.stack.enter_context(worker))

    def assign(self, function: Function[T, R], task: T) -> None:
        """Give a task to an idle worker, or to a new one."""
        while self.idle and self.idle[-1].process.poll() is not None:  # it died idle
            self._stop(self.idle.pop())
        if not self.idle:
            self.start()
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

    def _stop(self, worker: Worker) -> None:
        worker.stop()
        self.free_cores.append(worker.core)

    def _message(self, worker: Worker) -> tuple[str, Any]:
        """What a busy worker says; of one that died, that it did."""
        try:
            message: tuple[str, Any] = worker.receive()
        except WorkerDied as error:
            del self.busy[worker.connection]
            self._stop(worker)
            return processes.OUTCOME, (None, error)
        return message


def choose(name: str, device: str, workers: int | None) -> Serial | Local:
    """The executor of that name, local or serial; by default with one worker a core, on cuda one
    for the device."""
    if name == "serial":
        return Serial(device=device)
    return Local(workers or (core_count() if device == "cpu" else 1), device=device)


def resolve_device(name: str) -> str:
    """cpu or cuda, for `auto` whichever is there. Raises `ValueError` where cuda is asked in vain.

    Imports torch only where it has to ask: nowhere without a driver.
    """
    if name != "cpu" and _has_driver():
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if name == "cuda":
        raise ValueError("device: 'cuda' is not there on this machine; allowed: auto, cpu")
    return "cpu"


def _has_driver() -> bool:
    """Whether a driver's library is there."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True
