"""Where tasks are executed: in this process, or in spawned workers. One call shape for all.

`executor.map(function, tasks, on_progress)` yields an `Outcome` per task as each completes. The
function gets its task and a `progress(done, total)` to report with; `on_progress(task, done,
total)` hears it in the calling process. What a task raises is an outcome, not an end.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ablations.run.outcomes import (
    Function,
    OnProgress,
    Outcome,
    R,
    T,
    WorkerDied,
    attempt,
    reporter,
)
from ablations.run.workers import Crew
from hvae.processes import core_count, keep_freed_memory, one_thread

EXECUTORS = ("local", "serial")


def settle() -> None:
    """Make this process compute as every worker does, so that all compute alike."""
    one_thread()
    keep_freed_memory()


class Executor(Protocol):
    """Anything that executes tasks. Outcomes come in the order of completion."""

    def map(
        self,
        function: Function[T, R],
        tasks: Iterable[T],
        on_progress: OnProgress[T] | None = None,
    ) -> Iterator[Outcome[T, R]]: ...


@dataclass(frozen=True)
class Serial:
    """One task after the other in this process, which `prepare` alters for good."""

    prepare: Callable[[], None] = settle

    def map(
        self,
        function: Function[T, R],
        tasks: Iterable[T],
        on_progress: OnProgress[T] | None = None,
    ) -> Iterator[Outcome[T, R]]:
        self.prepare()
        for task in tasks:
            yield attempt(function, task, reporter(task, on_progress))


@dataclass(frozen=True)
class Local:
    """Spawned workers on this machine, `prepare` called in each before anything else.

    A worker that dies takes only its own task with it. The task is tried once more when all
    others are through, alone on the machine; if that worker dies too, the outcome is `WorkerDied`.
    However `map` is left (end, Ctrl-C, an exception), no worker stays; if this process is killed,
    the workers notice and exit.
    """

    workers: int
    prepare: Callable[[], None] = settle

    def map(
        self,
        function: Function[T, R],
        tasks: Iterable[T],
        on_progress: OnProgress[T] | None = None,
    ) -> Iterator[Outcome[T, R]]:
        lost: list[T] = []
        for outcome in self._pass(self.workers, function, tasks, on_progress):
            if isinstance(outcome.error, WorkerDied):
                lost.append(outcome.task)
            else:
                yield outcome
        yield from self._pass(1, function, lost, on_progress)

    def _pass(
        self,
        workers: int,
        function: Function[T, R],
        tasks: Iterable[T],
        on_progress: OnProgress[T] | None,
    ) -> Iterator[Outcome[T, R]]:
        waiting = deque(tasks)
        outcomes: list[Outcome[T, R]] = []
        crew = Crew(workers, self.prepare)
        try:
            while waiting or crew.busy or outcomes:
                while waiting and len(crew.busy) < workers:
                    crew.assign(function, waiting.popleft())
                yield from outcomes  # only now: no worker idles while the caller writes them
                outcomes = crew.listen(on_progress) if crew.busy else []
        finally:
            crew.dismiss()


def worker_count(name: str, device: str, asked: int | None) -> int:
    """How many packs are trained at once: by default one a core, on cuda one for the device."""
    if name == "serial":
        return 1
    return asked or (core_count() if device == "cpu" else 1)


def choose(name: str, workers: int) -> Executor:
    """The executor of that name."""
    assert name in EXECUTORS
    return Serial() if name == "serial" else Local(workers)


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
