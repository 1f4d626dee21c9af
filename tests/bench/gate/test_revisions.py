"""The two sides: what lies in them, where they come from, and that nothing of them stays."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from repositories import clone, git

from bench.gate.revisions import (
    checkout_root,
    committed,
    declared,
    laid_out,
    resolve,
    sources_digest,
)
from bench.gate.side.harness import BENCHMARKS, TRAININGS
from bench.gate.sides import CannotMeasure

LAID_OUT = """
import sys, tempfile
from pathlib import Path
from bench.gate.revisions import laid_out

tempfile.tempdir = sys.argv[2]
with laid_out(Path(sys.argv[1]), None) as layout:
    print(layout.sides.base.parent, flush=True)
    sys.stdin.read()
"""


def test_each_side_has_its_own_sources_and_heads_harness(scratch: Any) -> None:
    base = scratch.commit(SLEEP=1)
    scratch.write("hvae/deep/module.py", "x = 1\n")
    scratch.write("bench/gate/side/numerics.py", "# of head\n")
    scratch.commit(SLEEP=2)
    scratch.write("bench/gate/side/counts.py", "# not committed\n")
    with laid_out(scratch.root, base) as layout:
        sides = layout.sides
        assert "SLEEP = 1" in (sides.base / "hvae/stub.py").read_text()
        assert "SLEEP = 2" in (sides.head / "hvae/stub.py").read_text()
        assert not (sides.base / "hvae/deep").exists()
        assert (sides.head / "hvae/deep/module.py").exists()
        for side in sides:
            assert (side / "bench/gate/side/numerics.py").read_text() == "# of head\n"
            assert (side / "bench/gate/side/counts.py").read_text() == "# not committed\n"
        assert len(str(sides.base)) == len(str(sides.head))
        assert not sides.base.is_relative_to(scratch.root)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_nothing_stays_behind(scratch: Any, error: type[BaseException] | None) -> None:
    base = scratch.commit(SLEEP=1)
    folder = Path()
    try:
        with laid_out(scratch.root, base) as layout:
            folder = layout.sides.base.parent
            assert folder.exists()
            assert scratch.worktrees() == 1
            if error is not None:
                raise error
    except (KeyboardInterrupt, ValueError):
        assert error is not None
    assert not folder.exists()
    assert scratch.worktrees() == 1


def test_a_base_that_git_cannot_unpack_is_one_line(scratch: Any) -> None:
    with (
        pytest.raises(ValueError, match=r"^base: git cannot unpack it: fatal: .*nowhere.*$"),
        laid_out(scratch.root, "nowhere"),
    ):
        pass


def test_what_a_killed_gate_left_is_removed_by_the_next_and_what_a_living_one_needs_is_not(
    scratch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary" / "hvae-gate-of-nobody").mkdir(parents=True)  # as if just made
    command = [sys.executable, "-c", LAID_OUT, str(scratch.root), str(tmp_path / "temporary")]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout
        theirs = Path(other.stdout.readline().strip())
        with laid_out(scratch.root, None):
            assert theirs.is_dir()
        other.kill()
    assert theirs.is_dir()
    with laid_out(scratch.root, None):
        assert not theirs.exists()
    assert [path.name for path in (tmp_path / "temporary").iterdir()] == ["hvae-gate-of-nobody"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_process_unwinds_and_the_old_handler_returns(
    scratch: Any, number: signal.Signals
) -> None:
    def of_before(number: int, frame: object) -> None:
        raise AssertionError("nothing unwinds")

    outer = signal.signal(number, of_before)  # the tests themselves may run under nohup
    base = scratch.commit()
    try:
        with pytest.raises(KeyboardInterrupt), laid_out(scratch.root, base):
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is of_before
    finally:
        signal.signal(number, outer)
    assert scratch.worktrees() == 1


def test_a_signal_that_is_ignored_stays_ignored(scratch: Any) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with laid_out(scratch.root, None):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_base_is_the_merge_base(scratch: Any) -> None:
    fork = scratch.commit()
    scratch.git("checkout", "--quiet", "-b", "feature")
    head = scratch.commit(SLEEP=1)
    scratch.git("checkout", "--quiet", "main")
    scratch.commit(SLEEP=2)
    scratch.git("checkout", "--quiet", "feature")
    assert resolve(scratch.root, "main") == (fork, head, False)
    assert resolve(scratch.root, None) == (head, head, False)
    scratch.write("README.md", "not measured")
    assert not resolve(scratch.root, None).is_dirty
    scratch.write("hvae/stub.py", "changed")
    assert resolve(scratch.root, None).is_dirty


def test_a_base_that_is_not_there_is_one_line_with_advice(scratch: Any) -> None:
    with pytest.raises(ValueError, match=r"base: 'nowhere' is no commit here; allowed: a branch"):
        resolve(scratch.root, "nowhere")
    with pytest.raises(ValueError, match=r"base: '--all' is no commit"):
        resolve(scratch.root, "--all")
    with pytest.raises(ValueError, match=r"base: 'origin/' is no commit here: nothing follows the"):
        resolve(scratch.root, "origin/")


def test_a_shallow_clone_without_the_base_says_how_to_get_it(scratch: Any, tmp_path: Path) -> None:
    base = scratch.commit(SLEEP=1)
    scratch.commit(SLEEP=2)
    shallow = tmp_path / "clone"
    clone(scratch.root.as_uri(), shallow, "--depth=1")
    with pytest.raises(
        ValueError, match=r"is no commit here; this clone is shallow: .*fetch-depth"
    ):
        resolve(shallow, base)
    git(shallow, "fetch", "--quiet", "--depth=1", "origin", base)  # but not what joins them
    with pytest.raises(ValueError, match=r"no common commit here; this clone is shallow"):
        resolve(shallow, base)


@pytest.mark.parametrize("options", [["--depth=1"], ["--single-branch"]], ids=["shallow", "whole"])
def test_in_a_clone_of_one_tag_the_advice_brings_the_branch(
    scratch: Any, tmp_path: Path, options: list[str]
) -> None:
    main = scratch.commit(SLEEP=1)
    scratch.git("checkout", "--quiet", "-b", "feature")
    scratch.commit(SLEEP=2)
    scratch.git("tag", "v1")
    folder = tmp_path / "clone"
    clone(scratch.root.as_uri(), folder, "--branch=v1", *options)
    with pytest.raises(ValueError, match=r"base: 'origin/main' is no commit") as caught:
        resolve(folder, "origin/main")
    (advice,) = re.findall(r"`git ([^`]*)`", str(caught.value))
    git(folder, *shlex.split(advice))
    assert resolve(folder, "origin/main").base == main


def test_a_folder_that_is_no_checkout_of_hvae_is_refused(
    scratch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkout_root(scratch.root / "hvae") == scratch.root.resolve()
    with pytest.raises(
        ValueError, match=r"^gate: .*: fatal: not a git repository .*; allowed: a checkout"
    ):
        checkout_root(tmp_path)
    with monkeypatch.context() as other:
        other.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its own tests
        other.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # nor does the user trust every folder
        other.setenv("GIT_CONFIG_NOSYSTEM", "1")
        with pytest.raises(ValueError, match=r"dubious ownership.*safe\.directory"):
            checkout_root(scratch.root)
    (scratch.root / "bench/gate/side/numerics.py").unlink()
    with pytest.raises(
        ValueError, match=r"is no checkout of hvae: bench/gate/side/numerics.py is missing"
    ):
        checkout_root(scratch.root)


def test_a_base_before_there_was_hvae_cannot_be_measured(scratch: Any) -> None:
    scratch.git("rm", "-r", "--quiet", "hvae")
    scratch.git("commit", "--quiet", "--message=nothing")
    empty = scratch.git("rev-parse", "HEAD")
    scratch.write("hvae/__init__.py", "")
    scratch.commit()
    with pytest.raises(CannotMeasure, match=r"^base .* no hvae/"), laid_out(scratch.root, empty):
        pass
    assert scratch.worktrees() == 1


def test_what_a_tree_declares_is_read_from_its_own_harness(scratch: Any) -> None:
    assert declared(scratch.root) == [*BENCHMARKS, *TRAININGS]
    scratch.write("bench/gate/side/harness.py", "BENCHMARKS = ('old',)\n")
    assert declared(scratch.root) == ["old"]
    scratch.write("bench/gate/side/harness.py", "BENCHMARKS = (\n")
    with pytest.raises(
        CannotMeasure, match=r"^base cannot be measured: SyntaxError: .* \(harness\.py, line 1\)$"
    ):
        declared(scratch.root)
    (scratch.root / "bench/gate/side/harness.py").unlink()
    assert declared(scratch.root) == []
    scratch.write("bench/harness.py", "BENCHMARKS = ('flat',)\n")
    assert declared(scratch.root) == ["flat"]


def test_a_committed_file_is_that_of_the_commit(scratch: Any) -> None:
    scratch.write("bench/waivers.txt", "one\n")
    commit = scratch.commit()
    scratch.write("bench/waivers.txt", "two\n")
    assert committed(scratch.root, commit, "bench/waivers.txt") == "one"
    assert committed(scratch.root, commit, "bench/nothing.txt") == ""


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("hvae/stub.py", True),
        ("hvae/new/module.py", True),
        ("bench/gate/side/numerics.py", True),
        ("constraints.txt", False),
        ("README.md", False),
        ("bench/gate/gate.py", False),
    ],
)
def test_the_digest_changes_with_what_decides_a_measurement(
    scratch: Any, name: str, counts: bool
) -> None:
    before = sources_digest(scratch.root)
    scratch.write(name, "changed")
    assert (sources_digest(scratch.root) != before) == counts
    assert sources_digest(scratch.root, (name,)) != before


def test_what_is_only_said_about_code_leaves_the_digest_alone(scratch: Any) -> None:
    scratch.write("hvae/native/step.c", "int a;\n")
    before = sources_digest(scratch.root)
    for name in ("hvae/stub.py", "bench/gate/side/worker.py"):
        source = (scratch.root / name).read_text()
        scratch.write(name, f'"""Words."""\n# more words\n{source}')
    scratch.write("hvae/native/step.c", "// words\nint a;\n")
    assert sources_digest(scratch.root) == before
    scratch.write("hvae/native/step.c", "// words\nint b;\n")
    assert sources_digest(scratch.root) != before
