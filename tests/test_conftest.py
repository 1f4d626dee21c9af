"""The fixtures of all tests: run from a git hook, the tests leave its repository alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import git

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git on the PATH")
def test_tests_run_from_a_hook_leave_its_repository_as_it_was(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "decoy")
    decoy = tmp_path / "decoy"
    (decoy / "file").write_text("content\n")
    git(decoy, "add", "file")
    git(decoy, "commit", "--quiet", "--message=first")
    before = contents(decoy)
    hook = {
        "GIT_DIR": str(decoy / ".git"),
        "GIT_INDEX_FILE": str(decoy / ".git/index"),
        "GIT_WORK_TREE": str(decoy),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["tests/bench/gate/test_revisions.py", "-k", "a_committed_file"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | hook, capture_output=True, text=True, check=False
    )
    assert contents(decoy) == before
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
