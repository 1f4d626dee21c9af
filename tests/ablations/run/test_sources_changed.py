"""A grid whose sources are edited while it runs, in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hvae.records.sources import sources_sha256
from hvae.records.store import Store

ROOT = Path(__file__).parents[3]
COMMAND = [
    *("run", "quick", "--depth", "1", "--loss", "bce", "--latent", "2", "--seeds", "2"),
    *("--epochs", "2", "--importance-samples", "2", "--device", "cpu", "--no-report"),
    "--no-throughput",
]
EDITS_AT_THE_FIRST_PROGRESS = """
from pathlib import Path
from ablations.cli import main as cli
from ablations.grid import Packing
from ablations.run import launch as launching
from ablations.run import progress
import hvae

def advance(self, pack, done, total, real=progress.Display.advance):
    source = Path(hvae.__file__).with_name("model") / "objectives.py"
    source.write_text(source.read_text() + "EDITED = True\\n")
    progress.Display.advance = real
    real(self, pack, done, total)

progress.Display.advance = advance
launching.packing = lambda *_: Packing(1)
cli.main()
"""


@pytest.mark.parametrize(("executor", "most_records"), [("serial", 0), ("local", 1)])
def test_no_record_bears_the_name_of_sources_that_were_edited_while_it_was_made(
    tmp_path: Path, executor: str, most_records: int
) -> None:
    """Two packs. The first is in training when the edit comes; a worker of its own may have ended
    it by then. The second starts after the edit."""
    for package in ("ablations", "bench", "hvae", "report"):
        shutil.copytree(ROOT / package, tmp_path / package)
    script = tmp_path / "edits.py"
    script.write_text(EDITS_AT_THE_FIRST_PROGRESS)
    options = ["--executor", executor, "--workers", "1", "--results", str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, str(script), *COMMAND, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    store = Store(tmp_path / "results" / "quick")
    assert done.returncode == 1, done.stderr
    told = [line for line in done.stderr.splitlines() if "sources changed while" in line]
    assert len(told) == 1, done.stderr
    assert told[0].endswith("; start the command again")
    assert {record.code["sources_sha256"] for record in store} <= {sources_sha256()}
    assert len(store.finished()) <= most_records
    assert len(store.finished() | store.failed()) == 2
    for name in store.failed():
        assert store.read_failure(name).exception == f"SourcesChanged: {told[0]}"
