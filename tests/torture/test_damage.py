"""Records cut at every byte and flipped bit by bit, and what other programs leave among them.

The seed of the bits is shown where a test fails; `HVAE_TORTURE_SEED` gives it again.
"""

import csv
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_study as tiny
from click.testing import CliRunner, Result

from ablations.cli.main import main
from hvae.records.store import Record, RecordError, Store

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("HVAE_TORTURE_SEED", time.time_ns() % 10**9))
BYTES = 400  # of a record: every bit of each is flipped
COMMANDS = 25  # of the damages, also shown to the commands


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a real run."""
    results = tmp_path_factory.mktemp("whole")
    arguments = tiny.command(results, "--executor", "serial", "--no-throughput")
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    return results


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "results")


def call(results: Path, *arguments: str) -> Result:
    """A command; a traceback fails the test."""
    given = [*arguments[:1], *tiny.STUDY, "--results", str(results), *arguments[1:]]
    return CliRunner().invoke(main, given, catch_exceptions=False)


def numbers(results: Path) -> dict[str, list[tuple[str, ...]]]:
    """What the report says of each run, by its key; of a run without a number nothing."""
    assert call(results, "report", "--format", "csv").exit_code == 0
    rows: dict[str, list[tuple[str, ...]]] = {}
    with (tiny.store_of(results).folder / "report" / "runs.csv").open() as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["key"], []).extend([tuple(row.values())] if row["value"] else [])
    return rows


def expect_named(results: Path, name: str, whole: dict[str, Any]) -> None:
    """One line of `status` names what is wrong with a run; the report shows no number of it, and
    of the other runs the same as before."""
    status = call(results, "status")
    listed = status.stdout.splitlines()
    assert (status.exit_code, status.stderr, len(listed)) == (1, "", 1 + tiny.RUNS)
    (line,) = (line for line in listed if line.startswith(name))
    assert f"{name}.json: " in line
    found = numbers(results)
    assert {key: rows for key, rows in found.items() if key != name} == {
        key: rows for key, rows in whole.items() if key != name
    }
    assert found[name] == []
    refused = call(results, "run", "--no-report")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def is_refused(store: Store, name: str, whole: Record) -> bool:
    """Whether reading raises, in one line with the file; else the record must be the whole one."""
    try:
        found = store.read(name)
    except RecordError as error:
        told = str(error)
    else:
        assert found == whole
        return False
    assert told.startswith(f"{store.path(name)}: ")
    assert "\n" not in told
    return True


def test_a_record_cut_at_any_byte_is_named_and_no_number_of_it_is_shown(results: Path) -> None:
    store, expected = tiny.store_of(results), numbers(results)
    name, *_ = sorted(store.finished())
    record, content = store.read(name), store.path(name).read_bytes()
    for length in range(len(content)):
        store.path(name).write_bytes(content[:length])
        assert is_refused(store, name, record) == (length < len(content) - 1)  # its last newline
        if length % (len(content) // COMMANDS) == 0:
            expect_named(results, name, expected)


def test_a_record_with_any_bit_flipped_is_refused_or_says_the_same(results: Path) -> None:
    """The last digit of a long number may be another and mean the same."""
    store, expected, bits = tiny.store_of(results), numbers(results), random.Random(SEED)
    name, *_ = sorted(store.finished())
    record, content = store.read(name), store.path(name).read_bytes()
    places = sorted(bits.sample(range(len(content)), BYTES))
    damages = [(place, bit) for place in places for bit in range(8)]
    shown = set(bits.sample(damages, COMMANDS))
    refused = 0
    for place, bit in damages:
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        store.path(name).write_bytes(damaged)
        is_damage = is_refused(store, name, record)
        refused += is_damage
        if (place, bit) in shown and is_damage:
            expect_named(results, name, expected)
    assert refused > 0.98 * len(damages), f"seed {SEED}"


FOREIGN = (".DS_Store", "._{}.json", "{} (1).json", "{}.json.icloud", "{}.json~", "{}.JSON")


def test_files_of_other_programs_change_nothing(results: Path) -> None:
    store, expected = tiny.store_of(results), numbers(results)
    listed = call(results, "status").stdout
    for name in store.finished():
        for foreign in FOREIGN:
            (store.runs / foreign.format(name)).write_bytes(b"\0\5\x16\7")
        os.mkfifo(store.runs / f"._{name}")
        (store.runs / f"copy of {name}.json").mkdir()
    (store.runs / "loop").symlink_to("loop")
    assert call(results, "status").stdout == listed
    assert numbers(results) == expected
    assert "nothing to do" in call(results, "run", "--no-report").stderr


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "a FIFO": make_fifo,
    "a folder": Path.mkdir,
    "a symlink to itself": make_loop,
    "a symlink to nothing": lambda path: path.symlink_to("nothing"),
    "a symlink to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_named_like_a_record_and_is_none_is_named(
    make: Callable[[Path], object], results: Path
) -> None:
    store, expected = tiny.store_of(results), numbers(results)
    name, *_ = sorted(store.finished())
    store.path(name).unlink()
    make(store.path(name))
    expect_named(results, name, expected)
    assert "delete" not in call(results, "status").stdout


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_pictures_that_cannot_be_read_change_no_number(
    make: Callable[[Path], object], results: Path
) -> None:
    store, expected = tiny.store_of(results), numbers(results)
    for name in store.finished():
        store.arrays_path(name).unlink()
        make(store.arrays_path(name))
    assert numbers(results) == expected
    assert call(results, "report", "--format", "html").exit_code == 0
