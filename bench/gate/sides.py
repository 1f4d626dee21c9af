"""Processes that measure a side: started, asked, and never left behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple


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


class Measured:
    """A `bench.gate.side.worker` in the folder of one side, on one core if given."""

    def __init__(self, folder: Path, core: int | None = None) -> None:
        self.folder = folder
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `stop`)
        on_core = [] if core is None else [str(core)]
        self.process = subprocess.Popen(
            [*fixed_addresses(), sys.executable, "-m", "bench.gate.side.worker", *on_core],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,  # Ctrl-C is the parent's to answer
        )

    def send(self, **order: Any) -> None:
        """Hand over an order; that the process has died is found out by `answer`."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()

    def answer(self) -> Any:
        """What it says to the last order. Raises `CannotMeasure` where it died of it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise CannotMeasure(self.folder.name, self._last_words())
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        self.send(**order)
        return self.answer()

    def stop(self) -> None:
        """No process is left when this returns; it has nothing to put in order."""
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            assert file is not None
            with suppress(OSError):  # an order that it never read
                file.close()

    def _last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1] if lines else f"its process ended with {code}"


class Crowd:
    """All processes of a measurement: when it is over none is alive and none can be started."""

    def __init__(self) -> None:
        self.members: set[Measured] = set()
        self.is_over = False
        self.lock = threading.Lock()  # several threads start and dismiss

    def start(self, folder: Path, core: int | None = None) -> Measured:
        with self.lock:
            if self.is_over:
                raise CannotMeasure(folder.name, "the measurement was stopped")
            member = Measured(folder, core)
            self.members.add(member)
            return member

    def dismiss(self, members: Sequence[Measured]) -> None:
        with self.lock:
            for member in self.members.intersection(members):
                member.stop()
            self.members.difference_update(members)

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_over = True
        self.dismiss(list(self.members))


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
    """Counts and numerics of both sides, in a process each, at the same time. Raises
    `CannotMeasure`."""
    with Crowd() as crowd:
        members = [crowd.start(folder) for folder in sides]
        for member in members:
            member.send(do="exact", device=device)
        base, head = (member.answer() for member in members)
    return base, head
