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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the study, whatever the clock says."""
    results = tmp_path_factory.mktemp("undisturbed")
    run(results)
    return results


def test_a_clock_set_back_changes_no_number_and_no_duration_is_negative(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(hours))
    run(tmp_path)
    made, expected = (list(tiny.store_of(results)) for results in (tmp_path, undisturbed))
    assert list(map(tiny.science, made)) == list(map(tiny.science, expected))
    for record in made:
        assert min(record.seconds.values()) > 0
        assert min(entry["seconds"] for entry in record.history) > 0


def test_files_from_another_time_are_as_good_as_any(undisturbed: Path) -> None:
    store = tiny.store_of(undisturbed)
    before = {name: store.path(name).read_bytes() for name in store.finished()}
    for moment in (0, 2**32):  # 1970 and 2106
        for path in (*store.runs.iterdir(), store.runs, store.folder):
            os.utime(path, (moment, moment))
        assert "nothing to do" in run(undisturbed)
        assert {name: store.path(name).read_bytes() for name in store.finished()} == before
