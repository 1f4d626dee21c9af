"""Disks that fill up at every 64 KB, and folders that turn read-only in the middle.

Of most the training is replaced: what is left is storage.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_study as tiny
import worker_functions as work
from builders import design, record
from click.testing import CliRunner, Result
from displays import Shown, shared
from mounts import mounted, remount

from ablations.cli.main import main
from ablations.grid import Pack
from ablations.run import launch as launching
from ablations.run.executors import Serial
from ablations.run.launch import run_study
from ablations.run.pack import Conditions, Finished, Task
from hvae.config import RunConfig
from hvae.records.store import ARRAYS, WEIGHTS, Record, Store

pytestmark = pytest.mark.slow
STEP_KB = 64
ALL_KB = 1536  # more than the whole grid takes
PACK = Pack("study", design({"depth": (1, 2), "latent": (2, 20)}, seeds=5).runs)
FILES = {ARRAYS: bytes(range(256)) * 24, WEIGHTS: bytes(range(256)) * 160}  # as of the digits
Grid = Callable[..., list[Record]]


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Record]]:
    """Record what the store lacks of `PACK`; `then` is called after each with their number."""

    def run_pack(task: Task, progress: work.Progress) -> Iterator[Finished]:
        for run in task.pack.runs:
            yield Finished(record(run), FILES)

    def do(store: Store, then: Callable[[int], None] = lambda count: None) -> list[Record]:
        there = store.finished()
        left: tuple[RunConfig, ...] = tuple(r for r in PACK.runs if record(r).digest not in there)
        conditions = Conditions(Path(), "cpu", record(PACK.runs[0]).code)
        shown = Shown(lambda made: then(len(shown.records)))
        claims = tmp_path / "claims"  # not on the disk: what is open holds a remount up
        with shared(store, shown, conditions.sources_sha256, claims) as sharing:
            run_study([Pack("study", left)], store, Serial(work.nothing), conditions, {}, sharing)
        return shown.records

    monkeypatch.setattr(launching, "run_pack", run_pack)
    return do


def expect_whole(store: Store) -> None:
    """Every record can be read and has its files; nothing is half written."""
    for found in store:
        assert store.arrays_path(found.digest).read_bytes() == FILES[ARRAYS]
        assert store.weights_path(found.digest).read_bytes() == FILES[WEIGHTS]
    assert not list(store.runs.glob(".partial*"))


def lines_of(text: str, told: str) -> list[str]:
    return [line for line in text.splitlines() if told in line]


@pytest.mark.parametrize("size_kb", range(STEP_KB, ALL_KB + 1, STEP_KB))
def test_a_disk_that_fills_up_is_one_line_and_with_room_the_grid_is_completed(
    size_kb: int, grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", f"{size_kb}k") as disk:
        store = Store(disk / "results")
        store.open_for_writing()
        recorded = grid(store)
        is_all = len(recorded) == len(PACK.runs)
        expected = f"cannot write under {store.runs}: No space left on device\n"
        assert capsys.readouterr().err == ("" if is_all else expected)
        assert {made.digest for made in recorded} == store.finished()
        assert is_all if size_kb == ALL_KB else not is_all or size_kb > STEP_KB
        expect_whole(store)
        remount(disk, "size=8m")
        store.open_for_writing()
        assert len(grid(store)) == len(PACK.runs) - len(recorded)
        assert len(store.finished()) == len(PACK.runs)
        expect_whole(store)


def run_tiny(results: Path, *options: str) -> Result:
    arguments = tiny.command(results, "--executor", "serial", "--no-throughput", *options)
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize("size_kb", [4, 8, 12, 16, 20, 24, 28, 32, 64])
def test_the_command_on_a_full_disk_is_one_line_exit_code_one_and_resumes(
    size_kb: int, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", f"{size_kb}k") as disk:
        store, result = tiny.store_of(disk), run_tiny(disk)
        count = len(list(store))  # reads every one
        told = lines_of(result.stderr, "cannot write under")
        assert [str(disk) in line for line in told] == [True] * (count < tiny.RUNS)
        assert result.exit_code == (count < tiny.RUNS)
        assert not list(disk.rglob(".partial*"))
        remount(disk, "size=8m")
        assert run_tiny(disk).exit_code == 0
        assert len(list(store)) == tiny.RUNS


def test_a_report_that_does_not_fit_is_one_line_and_exit_code_one(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "64k") as disk:
        assert run_tiny(disk).exit_code == 0
        arguments = ["report", *tiny.STUDY, "--results", str(disk)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert f"report: cannot write under {tiny.store_of(disk).folder}/report" in result.stderr
        assert not list(disk.rglob(".partial*"))


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_folder_that_turns_read_only_is_one_line_and_is_resumed_when_it_is_writable(
    count: int, grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "8m") as disk:
        store = Store(disk / "results")
        store.open_for_writing()
        recorded = grid(store, lambda number: remount(disk, "ro") if number == count else None)
        assert len(recorded) == count
        expected = f"cannot write under {store.runs}: Read-only file system\n"
        assert capsys.readouterr().err == expected
        expect_whole(store)
        with pytest.raises(ValueError, match=r"results: cannot write under .*Read-only"):
            store.open_for_writing()
        remount(disk, "rw")
        store.open_for_writing()
        assert len(grid(store)) == len(PACK.runs) - count
        expect_whole(store)


def test_what_only_reads_works_in_a_read_only_folder(tmp_path: Path) -> None:
    def call(*arguments: str) -> Result:
        given = [*arguments, "--results", str(disk)]
        return CliRunner().invoke(main, given, catch_exceptions=False)

    with mounted(tmp_path / "disk", "8m") as disk:
        assert run_tiny(disk, "--keep-weights").exit_code == 0
        remount(disk, "ro")
        for command in (["status", *tiny.STUDY], ["plan", *tiny.STUDY]):
            assert call(*command).exit_code == 0
        assert call("report", *tiny.STUDY, f"--out={tmp_path}/page").exit_code == 0
        assert (tmp_path / "page" / "index.html").exists()
        drawn = call("sample", "quick", "--depth", "1", f"--out={tmp_path}/a.png")
        assert (drawn.exit_code, (tmp_path / "a.png").exists()) == (0, True)
        for command in (["report", *tiny.STUDY], ["sample", "quick", "--depth", "1"]):
            refused = call(*command)
            assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
            assert "Read-only file system" in refused.stderr
        assert run_tiny(disk).exit_code == 0  # every run is there
