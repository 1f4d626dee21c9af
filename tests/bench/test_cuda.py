"""The checks of the CUDA path, in whose place here are commands that end at once."""

import re
import sys
from pathlib import Path

import pytest

from bench import cuda

PYTHON = (sys.executable, "-c")


def test_the_path_is_proven_where_every_check_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    bad = (*PYTHON, "print('no such kernel'); raise SystemExit(3)")
    monkeypatch.setattr(cuda, "CHECKS", {"bad": bad, "good": (*PYTHON, "print('9 passed')")})
    assert cuda.main(tmp_path, ["good"]) == 0
    capsys.readouterr()
    assert cuda.main(tmp_path, []) == 1
    told = re.findall(r"(\w+) +(held|exit \d) +[\d.]+ s  (.+)", capsys.readouterr().out)
    assert told == [("bad", "exit 3", "no such kernel"), ("good", "held", "9 passed")]
    assert cuda.main(tmp_path, ["good", "unknown"]) == 2
    (tmp_path / "results").mkdir()  # of an earlier call: nothing of it would be measured again
    assert cuda.main(tmp_path, ["good"]) == 2


def test_without_a_gpu_nothing_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cuda.main(tmp_path, ["tests"]) == 2
    assert capsys.readouterr().err.startswith("device: no NVIDIA GPU that torch finds; allowed: ")
