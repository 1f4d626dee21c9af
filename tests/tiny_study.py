"""The smallest study that trains two models, as a command, and what of its records is science."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hvae.records.store import Record, Store

STUDY = (
    *("quick", "--depth", "1", "--depth", "2", "--loss", "bce", "--latent", "2", "--seeds", "1"),
    *("--epochs", "2", "--importance-samples", "10"),
)
RUNS = 2
PROGRAM = (sys.executable, "-c", "from ablations.cli.main import main; main()")


def command(results: Path, *options: str) -> list[str]:
    """Arguments of `hvae` that run the study, without a report."""
    return ["run", *STUDY, "--no-report", "--results", str(results), *options]


def store_of(results: Path) -> Store:
    return Store(results / STUDY[0])


def start(results: Path, *options: str) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *command(results, *options)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(process: subprocess.Popen[bytes], is_parent_alone: bool) -> None:
    """kill -9, to the parent alone or to all of its group; the parent is gone then."""
    if is_parent_alone:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def group(leader: int) -> list[int]:
    """Processes of a group that are alive, zombies left out."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone by now
            continue
        if int(number) == leader and state != "Z":
            alive.append(int(path.parent.name))
    return alive


def science(record: Record) -> dict[str, Any]:
    """All of a record that a clock and the machine do not change."""
    history = [{k: v for k, v in entry.items() if k != "seconds"} for entry in record.history]
    return {
        "config": record.config,
        "metrics": record.metrics,
        "history": history,
        "status": record.status,
    }
