"""`hvae gate`: what it asks for, prints, refuses, and the exit code of each verdict."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import worker_functions as work
from click.testing import CliRunner, Result
from repositories import git

from ablations.cli import gate as gating
from ablations.cli.main import main
from bench.gate.gate import Device, Outcome
from bench.gate.revisions import Revisions
from bench.gate.tiers import Finding, Tier

ROOT = Path(__file__).parents[3]
COMMAND = """
import signal
from ablations.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
main()
"""
REVISIONS = Revisions("b" * 40, "e" * 40, False)
OUTCOMES = {
    "pass": 0,
    "fail": 1,
    "inconclusive": 3,
}


def outcome(status: str) -> Outcome:
    findings = [Finding(status, "train_step.flops: 1 -> 2", "train_step.flops: 1 -> 2  # why")]
    return Outcome([Tier("counts", status, "a count", findings)], 7.0, [], REVISIONS, "Some CPU")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `compare` was asked; it says what `asked` begins with, at first a pass."""
    calls: list[Any] = ["pass"]

    def compare(root: Path, base: str | None, device: Device, progress: Any) -> Outcome:
        progress("numerics and counts")
        calls.append((root, base, device))
        return outcome(calls[0])

    monkeypatch.setattr("bench.gate.gate.compare", compare)
    monkeypatch.setattr(gating, "device_name", lambda device: "Some CPU (R)")
    return calls


def call(*options: str) -> Result:
    return CliRunner().invoke(main, ("gate", *options), catch_exceptions=False)


@pytest.mark.parametrize(("status", "code"), OUTCOMES.items())
def test_the_verdict_is_the_exit_code_the_last_line_and_the_json(
    asked: list[Any], status: str, code: int, tmp_path: Path
) -> None:
    asked[0] = status
    result = call("--base", "main", "--results", str(tmp_path))
    assert result.exit_code == code
    lines = result.stdout.splitlines()
    assert lines[0] == f"base {'b' * 12}, head {'e' * 12}, on Some CPU"
    assert lines[-1].startswith(status.upper())
    assert lines[-1].endswith("(7 s)")
    result = call("--base", "main", "--json")
    assert result.exit_code == code
    document = json.loads(result.stdout)
    assert (document["verdict"], document["exit_code"]) == (status, code)
    assert document["tiers"][0]["findings"][0]["text"] == "train_step.flops: 1 -> 2"
    skipped = call("--base", "main", "--inconclusive-exit", "125")
    assert skipped.exit_code == (125 if status == "inconclusive" else code)


def test_it_compares_the_checkout_it_stands_in_and_keeps_by_device(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "hvae")
    call("--base", "origin/main", "--results", str(tmp_path))
    folder = tmp_path / "bench" / "gate" / "some-cpu-r"
    assert asked[1:] == [(ROOT, "origin/main", Device("cpu", "Some CPU (R)", folder))]


def test_markdown_is_written_beside_the_answer(asked: list[Any], tmp_path: Path) -> None:
    asked[0] = "fail"
    result = call("--base", "main", "--markdown", str(tmp_path / "summary.md"))
    assert "### Performance gate: fail" in (tmp_path / "summary.md").read_text()
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "gate: nothing given; allowed: one of --base, --aa, --planted, --judge"),
        (("--base", "main", "--aa"), "gate: --base and --aa given"),
        (("--planted", "0"), "planted"),
        (("--planted", "nan"), "--planted: nan is not allowed; allowed: 0 < PERCENT"),
        (("--aa", "--inconclusive-exit", "125"), "--inconclusive-exit: has no meaning with --aa"),
        (("--judge", __file__, __file__, "--results", "x"), "--results: has no meaning with --jud"),
        (("--judge", __file__, __file__, "--device", "cuda"), "--device: has no meaning with --ju"),
        (("--planted", "50"), "planted"),
        (("--aa", "--repeat", "0"), "repeat"),
        (("--base", "main", "--repeat", "2"), "--repeat"),
        (("--base", "main", "--under-load"), "--under-load"),
        (("--aa", "--markdown", "summary.md"), "--markdown"),
        (("--judge", "no.json", "nope.json"), "no.json"),
        (
            ("--base", "main", "--markdown", "no/folder/a.md"),
            "--markdown: no/folder is no folder",
        ),
        (("--base", "no-such-branch"), "base: 'no-such-branch' is no commit here"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(options: tuple[str, ...], complaint: str) -> None:
    result = call(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert complaint in line


def test_a_truncated_file_cannot_be_judged(tmp_path: Path) -> None:
    files = [tmp_path / "base.json", tmp_path / "head.json"]
    for file in files:
        file.write_text('{"benchmarks": [')
    result = call("--judge", *map(str, files))
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "base.json: damaged" in line


def test_trials_print_a_line_each_then_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def run(root: Path, plan: Any, device: Device, file: Path, report: Any, progress: Any) -> Any:
        given.append((plan, device.folder, file))
        report("1 of 1: pass")
        return {
            "repeats": 1, "false_alarms": alarms, "caught": alarms, "inconclusive": 0, "bound": 0.5,
            "confidence": 0.95, "is_under_load": True, "planted_percent": plan.percent,
        }  # fmt: skip

    monkeypatch.setattr("bench.gate.selftest.run", run)
    monkeypatch.setattr(gating, "device_name", lambda device: "Some CPU")
    alarms = 0
    result = call("--aa", "--under-load", "--repeat", "1", "--results", str(tmp_path))
    file = tmp_path / "bench" / "gate" / "aa-some-cpu-loaded.json"
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "1 of 1: pass",
        "0 false alarms in 1 trials under load (at most, 95% bound 50.0%); 0 inconclusive",
        str(file),
    ]
    assert given == [((0.0, True, 1), None, file)]
    missed = call("--planted", "5", "--results", str(tmp_path))
    assert missed.exit_code == 1
    assert given[1][2].name == "planted-5-some-cpu.json"
    alarms = 1
    assert call("--aa", "--results", str(tmp_path)).exit_code == 1
    assert json.loads(call("--planted", "5", "--json", "--results", str(tmp_path)).stdout)["caught"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_worktree_no_folder_and_no_process(
    number: signal.Signals, tmp_path: Path
) -> None:
    checkout, temporary = tmp_path / "checkout", tmp_path / "temporary"
    temporary.mkdir()
    for name in ("bench", "hvae", "ablations", "report"):  # as they stand
        shutil.copytree(ROOT / name, checkout / name)
    git(checkout, "init", "--quiet")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message=as it is")
    pid_file = tmp_path / "pid"
    worker = f"import os, sys, time\nopen({str(pid_file)!r}, 'a').write(f'{{os.getpid()}} ')\n"
    side = checkout / "bench/gate/side/worker.py"  # never answers
    side.write_text(f"{worker}time.sleep(600)\n")
    command = [sys.executable, "-c", COMMAND, "gate", "--base", "HEAD"]
    environment = os.environ | {"PYTHONPATH": str(checkout), "TMPDIR": str(temporary)}
    gate = subprocess.Popen(
        command,
        cwd=checkout,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = wait_for_two(pid_file, gate)
    assert [path.name[:10] for path in temporary.iterdir()] == ["hvae-gate-"]
    gate.send_signal(number)
    _, errors = gate.communicate(timeout=work.LONG_SECONDS)
    assert (gate.returncode, errors) == (130, "hvae: interrupted\n")
    assert list(temporary.iterdir()) == []
    assert len(git(checkout, "worktree", "list").splitlines()) == 1
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def wait_for_two(pid_file: Path, gate: subprocess.Popen[str]) -> list[str]:
    """The numbers of both measuring processes, once they run."""

    def pids() -> list[str]:
        return pid_file.read_text().split() if pid_file.exists() else []

    assert work.eventually(lambda: len(pids()) == 2 or gate.poll() is not None)
    assert gate.poll() is None, gate.communicate()
    return pids()


def test_a_disk_that_is_full_is_no_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.gate.gate.compare", fill)
    words = ["gate", "--base", "HEAD", "--results", str(tmp_path)]
    assert CliRunner().invoke(main, words).exit_code == 2
