"""A git hook that compares: the commit being made is as it was meant."""

import sys
from pathlib import Path
from typing import Any

import pytest
from repositories import clone, git

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


@pytest.mark.slow
def test_a_hook_that_runs_the_gate_over_thirty_commits_leaves_a_commit_as_it_was_meant(
    tmp_path: Path,
) -> None:
    depth = int(git(ROOT, "rev-list", "--count", "HEAD"))
    if depth < 31:
        pytest.skip(f"needs thirty commits before HEAD; this clone has {depth}")
    checkout, output = tmp_path / "checkout", tmp_path / "output"
    clone(str(ROOT), checkout)
    before = git(checkout, "rev-parse", "HEAD")
    install(checkout, GATE.replace("HEAD~1", "HEAD~30"), output, accepts="0 1 3")
    (checkout / "README.md").write_text("second\n")
    git(checkout, "commit", "--quiet", "--all", "--message=meant")
    assert output.read_text().splitlines()[-1].startswith(("PASS", "FAIL", "INCONCLUSIVE"))
    assert git(checkout, "rev-parse", "HEAD~1") == before
    assert git(checkout, "diff", "--name-status", "HEAD~1", "HEAD") == "M\tREADME.md"
    assert git(checkout, "status", "--porcelain") == ""
    assert len(git(checkout, "worktree", "list").splitlines()) == 1


def install(root: Path, code: str, output: Path, accepts: str = "0") -> None:
    """A pre-commit hook that runs code of this checkout over the one at `root`, and has git commit
    where its exit code is one of those."""
    script, hook = output.with_suffix(".py"), root / ".git/hooks/pre-commit"
    script.write_text(code)
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" "{sys.executable}" "{script}" > "{output}" 2>&1\n'
        f'case " {accepts} " in *" $? "*) ;; *) exit 1 ;; esac\n'
    )
    hook.chmod(0o755)
