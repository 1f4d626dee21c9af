"""`map` with the help of worker processes: what its caller does next is done meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, TypeVar

from hvae.processes import Progress, Worker, core_count, lifeline, start_worker

FEWEST_RUNS = 24  # of a study whose report is drawn by workers: each imports for some seconds
T = TypeVar("T")
R = TypeVar("R")
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@contextmanager
def mapping(runs: int, module: str) -> Iterator[Map]:
    """What maps a function of a module over tasks, here and, where a study has enough runs, in a
    worker for every further core, which imports the module at once."""
    workers = core_count() - 1 if runs >= FEWEST_RUNS else 0
    with lifeline() as line, ExitStack() as stack:
        started = [stack.enter_context(start_worker(line, as_it_is)) for _ in range(workers)]
        for worker in started:
            worker.call(imported, module)
        yield lambda function, tasks: _begun(started, function, tasks)


def _begun(
    workers: Sequence[Worker], function: Callable[[T], R], tasks: Sequence[T]
) -> Iterator[R]:
    """The results in the order of the tasks, of which workers have begun two thirds or more: the
    caller has something else to do first. Raises `WorkerFailed`."""
    shares = [tasks[first :: 2 * len(workers) + 1] for first in range(2 * len(workers) + 1)]
    for worker, *own in zip(workers, shares[::2], shares[1::2], strict=False):
        worker.call(apply, (function, own))
    return _results(workers, function, shares)


def _results(
    workers: Sequence[Worker], function: Callable[[T], R], shares: Sequence[Sequence[T]]
) -> Iterator[R]:
    own = [function(task) for task in shares[-1]]
    for worker in workers:
        worker.result()  # of the import
    results = [*(share for worker in workers for share in worker.result()), own]
    for number in range(sum(map(len, shares))):
        yield results[number % len(shares)][number // len(shares)]


def apply(
    given: tuple[Callable[[T], R], Sequence[Sequence[T]]], progress: Progress
) -> Iterator[list[list[R]]]:
    """The results of a function for shares of the tasks, in a worker."""
    function, shares = given
    yield [list(map(function, share)) for share in shares]


def imported(module: str, progress: Progress) -> Iterator[None]:
    """Import a module, in a worker."""
    import_module(module)
    yield


def as_it_is() -> None:
    """Prepare a worker for what does not compute."""
