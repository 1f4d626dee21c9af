"""`map` in worker processes, begun at once: what its caller does next is done meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from hvae.processes import Progress, Worker, core_count, lifeline, start_worker

FEWEST_RUNS = 24  # of a study whose report is drawn by workers: each imports for some seconds
T = TypeVar("T")
R = TypeVar("R")
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@contextmanager
def mapping(runs: int) -> Iterator[Map]:
    """What maps a function over tasks: on each core, or, where a study has few runs or the machine
    one core, `map` itself."""
    workers = core_count()
    if workers < 2 or runs < FEWEST_RUNS:
        yield map
        return
    with lifeline() as line, ExitStack() as stack:
        start = partial(start_worker, line, as_it_is)
        yield lambda function, tasks: _begun(
            [stack.enter_context(start()) for _ in range(min(workers, len(tasks)))], function, tasks
        )


def _begun(
    workers: Sequence[Worker], function: Callable[[T], R], tasks: Sequence[T]
) -> Iterator[R]:
    """Give each worker its share; the results in the order of the tasks. Raises `WorkerFailed`."""
    for first, worker in enumerate(workers):
        worker.call(apply, (function, tasks[first :: len(workers)]))
    return _results(workers, len(tasks))


def _results(workers: Sequence[Worker], count: int) -> Iterator[R]:
    shares = [iter(worker.result()) for worker in workers]
    for number in range(count):
        yield next(shares[number % len(workers)])


def apply(share: tuple[Callable[[T], R], Sequence[T]], progress: Progress) -> Iterator[list[R]]:
    """The results of a function for a share of the tasks, in a worker."""
    function, tasks = share
    yield list(map(function, tasks))


def as_it_is() -> None:
    """Prepare a worker for what does not compute."""
