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
    bad = (*PYTHON, "print('no such kernel'); raise SystemExit(3)")
    monkeypatch.setattr(cuda, "CHECKS", {"bad": bad, "good": (*PYTHON, "print('9 passed')")})
    assert cuda.main(tmp_path, ["good"]) == 0
    capsys.readouterr()
    assert cuda.main(tmp_path, []) == 1
    told = re.findall(r"(\w+) +(held|exit \d) +[\d.]+ s  (.+)", capsys.readouterr().out)
    assert told == [("bad", "exit 3", "no such kernel"), ("good", "held", "9 passed")]
    assert cuda.main(tmp_path, ["good", "unknown"]) == 2
