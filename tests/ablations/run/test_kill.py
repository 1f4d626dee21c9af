"""kill -9 in the middle of a real grid, again and again, and the same command after it."""

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import worker_functions as work
from click.testing import CliRunner, Result

from ablations.cli.main import main
from hvae.native.build import c_compiler
from hvae.records.store import Store

COMMAND = [
    *("run", "quick", "--depth", "1", "--depth", "2", "--loss", "bce", "--latent", "2"),
    *("--seeds", "2", "--epochs", "3", "--importance-samples", "5", "--workers", "1"),
    *("--keep-weights", "--no-report", "--no-throughput"),
]


def start(results: Path) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", "from ablations.cli.main import main; main()", *COMMAND]
    return subprocess.Popen([*program, "--results", str(results)], stderr=subprocess.DEVNULL)


def in_this_process(results: Path) -> Result:
    return CliRunner().invoke(main, [*COMMAND, "--executor", "serial", "--results", str(results)])


def killed_after_another_record(results: Path, store: Store, before: int) -> None:
    process = start(results)
    assert work.eventually(
        lambda: len(store.finished()) > before or process.poll() is not None,
    )
    process.send_signal(signal.SIGKILL)
    process.wait()


def beside(store: Store, names: Iterable[str]) -> dict[str, tuple[bytes, bytes]]:
    """Pictures and weights of records; raises where one lacks either."""
    return {
        name: (store.arrays_path(name).read_bytes(), store.weights_path(name).read_bytes())
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


@pytest.mark.skipif(c_compiler() is None, reason="traced packs take long to start")
@pytest.mark.parametrize(
    "records", [1, pytest.param(4, marks=pytest.mark.slow)], ids=["once", "until nothing is left"]
)
def test_a_grid_that_is_killed_again_and_again_gets_on_and_ends_bit_for_bit_the_same(
    records: int, tmp_path: Path
) -> None:
    """Killed after each record, until so many are there."""
    whole, killed = Store(tmp_path / "whole" / "quick"), Store(tmp_path / "killed" / "quick")
    assert in_this_process(tmp_path / "whole").exit_code == 0

    moments: dict[str, int] = {}  # when each record was written
    while len(moments) < records:
        killed_after_another_record(tmp_path / "killed", killed, len(moments))
        found = {name: killed.path(name).stat().st_mtime_ns for name in killed.finished()}
        assert moments.items() <= found.items(), "a finished run was redone"
        assert len(found) > len(moments)
        assert moments or len(found) < 4, "killed too late to prove anything"
        moments = found
        assert beside(killed, moments).items() <= beside(whole, whole.finished()).items()

    assert in_this_process(tmp_path / "killed").exit_code == 0
    assert outcome(killed) == outcome(whole)
    assert len(killed.finished()) == 4
    assert beside(killed, killed.finished()) == beside(whole, whole.finished())
