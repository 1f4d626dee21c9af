"""Workers that measure a side: started and asked."""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from hvae.processes import Worker, WorkerDied, lifeline


class Sides(NamedTuple):
    """Two folders as `harness` describes them, with paths of one length: the length of a path
    moves the stack, and with it the speed of a process."""

    base: Path
    head: Path


class CannotMeasure(ValueError):
    """A side that the harness does not run on: one line says which and why."""

    def __init__(self, side: str, reason: str) -> None:
        super().__init__(f"{side} cannot be measured: {reason}")
        self.side = side


class SideWorker(Worker):
    """A `bench.gate.side.worker` in the folder of one side, on one core if given."""

    def __init__(self, line: Connection, folder: Path, core: int | None = None) -> None:
        self.folder = folder
        super().__init__(
            line,
            "bench.gate.side.worker",
            core=core,
            prefix=fixed_addresses(),
            cwd=folder,
            env=environment(folder),
            stderr=tempfile.TemporaryFile("w+"),  # noqa: SIM115 (closed by `stop`)
        )

    def receive(self) -> Any:
        """What it says to the last order. Raises `CannotMeasure` where it died of it."""
        try:
            return super().receive()
        except WorkerDied as error:
            reason = error.reason.replace(f'File "{self.folder}{os.sep}', 'File "')
            raise CannotMeasure(self.folder.name, reason) from None

    def ask(self, order: dict[str, Any]) -> Any:
        """What it says to an order. Raises `CannotMeasure` where it died of it."""
        self.send(order)
        return self.receive()


@cache
def fixed_addresses() -> tuple[str, ...]:
    """What starts a process without address randomisation; nothing where the system forbids it."""
    setarch = shutil.which("setarch") if sys.platform == "linux" else None
    if setarch is None:
        return ()
    command = (setarch, os.uname().machine, "--addr-no-randomize")
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()


def environment(folder: Path) -> dict[str, str]:
    """One thread from the start, one order of hashes, and the side's own modules first."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return os.environ | threads | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(folder)}


def measure_exactly(sides: Sides, device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Counts and numerics of both sides, in a worker each, at the same time. Raises
    `CannotMeasure`."""
    with (
        lifeline() as line,
        SideWorker(line, sides.base) as base,
        SideWorker(line, sides.head) as head,
    ):
        for worker in (base, head):
            worker.send({"do": "exact", "device": device})
        return base.receive(), head.receive()
