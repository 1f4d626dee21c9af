"""What workers are asked to do in tests, and whether they live: importable, without torch."""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LONG_SECONDS = 300.0  # nothing takes that long: a cap for what would wait for ever

Progress = Callable[[int, int], None]


class TwoPartError(Exception):
    """Pickles, but does not unpickle: its constructor wants two arguments, its args hold one."""

    def __init__(self, part: str, other: str) -> None:
        super().__init__(f"{part} {other}")


def search_path() -> str:
    """For PYTHONPATH: another process imports what this one can."""
    return os.pathsep.join(filter(None, sys.path))


def nothing() -> None:
    """In place of `settle`: a worker that need not import torch starts fast."""


def count_to(task: int, progress: Progress) -> Iterator[int]:
    """1, 2, … up to the task, which if it is odd is an error then."""
    for number in range(1, task + 1):
        progress(number, task)
        yield number
    if task % 2:
        raise ValueError(f"{task} is odd")


def make_or_await(task: tuple[str, Path], progress: Progress) -> Iterator[None]:
    """Make the file, or wait until another worker has."""
    what, path = task
    if what == "make":
        path.touch()
    while not path.exists():
        time.sleep(0.01)
    if what == "await":  # its outcome comes last
        time.sleep(0.2)
    yield


def process(task: object, progress: Progress) -> Iterator[int]:
    yield os.getpid()


def die(task: str, progress: Progress) -> Iterator[str]:
    """`dies`: killed after its first result, as by the kernel for want of memory."""
    yield "first"
    if task == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    yield "last"


def measure_or_die(timing: Any, progress: Progress) -> Iterator[Any]:
    """In place of the throughput of shapes: one whose latent size is 20 kills the worker."""
    for group in timing.groups:
        if any(shape.model.latent_dim == 20 for shape in group):
            os.kill(os.getpid(), signal.SIGKILL)
        yield {shape: {"measurements": [{"task": "train_step"}]} for shape in group}


def record_or_die(task: Any, progress: Progress) -> Iterator[Any]:
    """In place of the training of a pack: seed 2 kills the worker."""
    from builders import record

    from ablations.run.pack import Finished

    for run in task.pack.runs:
        if run.train.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Finished(record(run), {})


def take_memory(size: int, progress: Progress) -> Iterator[int]:
    """So many bytes, for as long as it takes to be noticed."""
    held = b"x" * size
    if size > 2**30:
        time.sleep(LONG_SECONDS)
    yield len(held)


def interrupt_itself(task: int, progress: Progress) -> Iterator[str]:
    os.kill(os.getpid(), signal.SIGINT)
    yield "survived"


def raise_two_part(task: int, progress: Progress) -> Iterator[None]:
    raise TwoPartError("lost", "on the way")
    yield


def return_a_generator(task: int, progress: Progress) -> Iterator[object]:
    yield (n for n in [task])


def hold(path: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock on the file for as long as this process lives."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        progress(1, 2)
        time.sleep(600)
    yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on the file."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until it holds; False where it never does."""
    end = time.monotonic() + LONG_SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def settings(task: int, progress: Progress) -> Iterator[dict[str, object]]:
    import torch

    yield {
        "threads": torch.get_num_threads(),
        "omp": os.environ["OMP_NUM_THREADS"],
        "mkl": os.environ["MKL_NUM_THREADS"],
        "denormal": (torch.tensor([1e-38]) * 1e-3).item(),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def situation(task: int, progress: Progress) -> Iterator[dict[str, object]]:
    yield {
        "path": sys.path,
        "is_interrupt_held": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "handler": signal.getsignal(signal.SIGINT),
        "has_torch": "torch" in sys.modules,
    }
