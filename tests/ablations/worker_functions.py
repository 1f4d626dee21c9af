"""What the spawned workers of `test_executors` execute: importable, without torch."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Progress = Callable[[int, int], None]


class TwoPartError(Exception):
    """Pickles, but does not unpickle: its constructor wants two arguments, its args hold one."""

    def __init__(self, part: str, other: str) -> None:
        super().__init__(f"{part} {other}")


def nothing() -> None:
    """In place of `one_thread`: a worker that need not import torch starts fast."""


def double(task: int, progress: Progress) -> int:
    progress(1, 2)
    progress(2, 2)
    return 2 * task


def refuse_odd(task: int, progress: Progress) -> int:
    if task % 2:
        raise ValueError(f"{task} is odd")
    return task


def make_or_await(task: tuple[str, Path], progress: Progress) -> None:
    """Make the file, or wait until another process has: the waiting one ends last."""
    what, path = task
    if what == "make":
        path.touch()
    while not path.exists():
        time.sleep(0.01)
    time.sleep(0.2 if what == "await" else 0.0)


def process(task: object, progress: Progress) -> int:
    return os.getpid()


def die_once(marker: Path | None, progress: Progress) -> str:
    """Killed the first time, as by the kernel for want of memory; `None` never is."""
    if marker is not None and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def die(is_killed: bool, progress: Progress) -> str:
    if is_killed:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def measure_or_die(task: Any, progress: Progress) -> Any:
    """In place of the throughput of cells, one whose loss is MSE kills the worker."""
    die(any(cell.train.loss == "mse" for cell in task.cells), progress)
    return {cell: {"measurements": [{"task": "train_step"}]} for cell in task.cells}


def interrupt_itself(task: int, progress: Progress) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "survived"


def raise_two_part(task: int, progress: Progress) -> None:
    raise TwoPartError("lost", "on the way")


def return_a_generator(task: int, progress: Progress) -> object:
    return (n for n in [task])


def hold(path: Path, progress: Progress) -> None:
    """Hold a lock on the file for as long as this process lives."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        progress(1, 2)
        time.sleep(600)


def settings(task: int, progress: Progress) -> dict[str, object]:
    import torch

    return {
        "threads": torch.get_num_threads(),
        "omp": os.environ["OMP_NUM_THREADS"],
        "mkl": os.environ["MKL_NUM_THREADS"],
        "denormal": (torch.tensor([1e-38]) * 1e-3).item(),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }
