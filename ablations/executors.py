"""Where tasks are executed: in this process, or in spawned workers. One call shape for all.

`executor.map(function, tasks, on_progress)` yields an `Outcome` per task as each completes. The
function gets its task and a `progress(done, total)` to report with; `on_progress(task, done,
total)` hears it in the calling process. What a task raises is an outcome, not an end.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ablations.outcomes import Function, OnProgress, Outcome, R, T, WorkerDied, attempt, reporter
from ablations.workers import Crew, one_thread, usable_cores

EXECUTORS = ("local", "serial")


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

    prepare: Callable[[], None] = one_thread

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
    prepare: Callable[[], None] = one_thread

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


def choose(name: str, device: str, workers: int | None) -> Executor:
    """The executor of that name; by default a worker per core, on cuda one for the one device."""
    if name == "serial":
        return Serial()
    assert name == "local"
    return Local(workers or (len(usable_cores()) if device == "cpu" else 1))


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
