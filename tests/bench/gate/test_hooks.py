"""A git hook that compares: the commit being made is as it was meant."""

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
LAYOUT = """
from pathlib import Path
from bench.gate.revisions import checkout_root, laid_out, resolve

root = checkout_root(Path.cwd())
with laid_out(root, resolve(root, "HEAD~1").base) as layout:
    print([(side / "hvae/stub.py").read_text().splitlines()[0] for side in layout.sides])
"""
GATE = """
from ablations.cli.main import main

main(["gate", "--base", "HEAD~1"])
"""


@pytest.mark.parametrize(
    ("code", "before", "answer"),
    [(LAYOUT, 1, "['SLEEP = 1', 'SLEEP = 2']"), (GATE, 2, "measured sources are identical")],
    ids=["layout", "gate"],
)
def test_a_hook_that_compares_leaves_the_commit_as_it_was_meant(
    scratch: Any, tmp_path: Path, code: str, before: int, answer: str
) -> None:
    scratch.write("README.md", "first\n")
    scratch.commit(SLEEP=before)
    scratch.write("added.txt", "of the commit before\n")
    head = scratch.commit(SLEEP=2)
    output = tmp_path / "output"
    install(scratch.root, code, output)
    config = (scratch.root / ".git/config").read_bytes()
    scratch.write("README.md", "second\n")
    scratch.git("commit", "--quiet", "--all", "--message=meant")
    assert answer in output.read_text()
    assert scratch.git("rev-parse", "HEAD~1") == head
    assert scratch.git("diff", "--name-status", "HEAD~1", "HEAD") == "M\tREADME.md"
    assert scratch.git("status", "--porcelain") == ""
    assert (scratch.root / ".git/config").read_bytes() == config
    assert scratch.worktrees() == 1


def install(root: Path, code: str, output: Path) -> None:
    """A pre-commit hook that runs code of this checkout over the one at `root`."""
    script, hook = output.with_suffix(".py"), root / ".git/hooks/pre-commit"
    script.write_text(code)
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "{script}" > "{output}" 2>&1\n'
    )
    hook.chmod(0o755)
