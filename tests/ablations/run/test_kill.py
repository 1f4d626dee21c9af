"""kill -9 in the middle of a real grid, then the same command again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hvae.records.store import Store

COMMAND = [
    *("run", "quick", "--depth", "1", "--depth", "2", "--loss", "bce", "--latent", "2"),
    *("--seeds", "2", "--epochs", "3", "--importance-samples", "5", "--workers", "1"),
    *("--keep-weights", "--no-report"),
]


def start(results: Path) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", "from ablations.cli.main import main; main()", *COMMAND]
    return subprocess.Popen([*program, "--results", str(results)], stderr=subprocess.DEVNULL)


def beside(store: Store, names: Iterable[str]) -> dict[str, tuple[bytes, bytes]]:
    """Pictures and weights of records; raises where one lacks either."""
    return {
        name: (store.pictures_path(name).read_bytes(), store.weights_path(name).read_bytes())
        for name in names
    }


def outcome(store: Store) -> dict[str, Any]:
    """All of a record that is science: what it took and how fast it was may differ."""
    return {
        record.digest: (
            record.metrics,
            record.status,
            [{k: v for k, v in entry.items() if k != "seconds"} for entry in record.history],
        )
        for record in store
    }


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_killed_grid_resumes_to_the_same_records_bit_for_bit(tmp_path: Path) -> None:
    whole, killed = Store(tmp_path / "whole" / "quick"), Store(tmp_path / "killed" / "quick")
    assert start(tmp_path / "whole").wait(timeout=300) == 0

    process = start(tmp_path / "killed")
    deadline = time.monotonic() + 300
    while not killed.finished() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {name: killed.path(name).stat().st_mtime_ns for name in killed.finished()}
    assert 0 < len(kept) < 4, "killed too late to prove anything"
    files = beside(killed, kept)

    assert start(tmp_path / "killed").wait(timeout=300) == 0
    assert outcome(killed) == outcome(whole)
    assert len(killed.finished()) == 4
    assert beside(killed, killed.finished()) == beside(whole, whole.finished())
    assert files.items() <= beside(whole, whole.finished()).items()
    for name, moment in kept.items():
        assert killed.path(name).stat().st_mtime_ns == moment, "a finished run was redone"
