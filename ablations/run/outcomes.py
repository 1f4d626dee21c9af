"""What becomes of a task: its result or what it raised, and the progress it reports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # done, total
Function = Callable[[T, Progress], R]
OnProgress = Callable[[T, int, int], None]  # task, done, total


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """A task and either its result or what it raised, the worker's traceback in its notes."""

    task: T
    result: R | None = None
    error: BaseException | None = None


class WorkerDied(RuntimeError):
    """A worker ended without a word: killed, out of memory, or crashed below Python."""


def attempt(function: Function[T, R], task: T, progress: Progress) -> Outcome[T, R]:
    """The one broad except of the project: whatever one task raises, the grid goes on."""
    try:
        return Outcome(task, result=function(task, progress))
    except Exception as error:
        return Outcome(task, error=error)


def ignore(done: int, total: int) -> None:
    pass


def reporter(task: T, on_progress: OnProgress[T] | None) -> Progress:
    if on_progress is None:
        return ignore
    return lambda done, total: on_progress(task, done, total)
