"""A clock that is set back while a grid runs."""

import itertools
import os
import time
from pathlib import Path

import pytest
import tiny_study as tiny
from click.testing import CliRunner

from ablations.cli.main import main


def run(results: Path) -> str:
    arguments = tiny.command(results, "--executor", "serial", "--no-throughput")
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stderr


def test_a_clock_set_back_changes_no_number_and_no_duration_is_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(hours))
    run(tmp_path)
    for record in tiny.store_of(tmp_path):
        assert min(record.seconds.values()) > 0
        assert min(entry["seconds"] for entry in record.history) > 0


def test_files_from_another_time_are_as_good_as_any(tmp_path: Path) -> None:
    run(tmp_path)
    store = tiny.store_of(tmp_path)
    before = {name: store.path(name).read_bytes() for name in store.finished()}
    for moment in (0, 2**32):  # 1970 and 2106
        for path in (*store.runs.iterdir(), store.runs, store.folder):
            os.utime(path, (moment, moment))
        assert "nothing to do" in run(tmp_path)
        assert {name: store.path(name).read_bytes() for name in store.finished()} == before
