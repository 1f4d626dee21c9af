"""kill -9 at random moments of `hvae run`, hundreds of times, and the same command after it.

The seed of the moments is printed with the table; `HVAE_TORTURE_SEED` gives it again.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import tiny_study as tiny
import worker_functions as work

from hvae.records.files import TEMPORARY
from hvae.records.store import RecordError, Store

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("HVAE_TORTURE_SEED", time.time_ns() % 10**9))
KILLS_IN_A_ROW = 6  # at most, before the command may end once
COLUMNS = ("kills", "resumed", "lost", "doubled", "different")


@dataclass(frozen=True)
class Mode:
    """How the study is run and killed; with a throughput that was timed before, or without one."""

    name: str
    kills: int
    options: tuple[str, ...] = ()
    launchers: int = 1
    is_parent_alone: bool = False
    is_timed: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.options if self.is_timed else (*self.options, "--no-throughput")


SERIAL = ("--executor", "serial")
LOCAL = ("--executor", "local", "--workers", "2")
MODES = (
    Mode("serial", 60, SERIAL),
    Mode("local, the group", 50, LOCAL, is_timed=True),
    Mode("local, the parent alone", 50, LOCAL, is_parent_alone=True),
    Mode("two launchers, serial", 30, SERIAL, launchers=2, is_timed=True),
    Mode("two launchers, local", 30, LOCAL, launchers=2, is_parent_alone=True),
)


@dataclass
class Tally:
    """What became of a mode."""

    mode: Mode
    kills: int = 0
    resumed: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    seen: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # of the folder at hand

    def look(self, store: Store, expected: dict[str, Any]) -> None:
        """Compare the folder with what was there before, and its records with the expected."""
        found = {}
        for name in store.finished():
            path = store.path(name)
            found[name] = (path.stat().st_ino, path.read_bytes())
            self.different += not is_expected(store, name, expected)
        self.lost += len(self.seen.keys() - found.keys())
        self.doubled += sum(found.get(name, held) != held for name, held in self.seen.items())
        self.seen = found


def is_expected(store: Store, name: str, expected: dict[str, Any]) -> bool:
    """Whether a record is whole, with its pictures beside it, and that of an undisturbed run."""
    try:
        record = store.read(name)
    except RecordError:
        return False
    return tiny.science(record) == expected.get(name) and store.arrays_path(name).exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an undisturbed run, its throughput among them."""
    results = tmp_path_factory.mktemp("whole")
    assert tiny.start(results, *LOCAL).wait(work.LONG_SECONDS) == 0
    return results


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[Tally]]:
    """The tallies of all modes, shown when the last is through."""
    tallies: list[Tally] = []
    yield tallies
    rows = [("mode", *COLUMNS)]
    rows += [(t.mode.name, *(str(getattr(t, name)) for name in COLUMNS)) for t in tallies]
    plugins = request.config.pluginmanager
    reporter, capture = map(plugins.get_plugin, ("terminalreporter", "capturemanager"))
    assert reporter is not None
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        reporter.write_line(f"\nkill -9, seed {SEED}")
        for name, *numbers in rows:
            reporter.write_line(f"{name:<26}" + "".join(f"{number:>11}" for number in numbers))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_whatever_is_killed_no_record_is_lost_doubled_or_different(
    mode: Mode, whole: Path, table: list[Tally], tmp_path: Path
) -> None:
    expected = {record.digest: tiny.science(record) for record in tiny.store_of(whole)}
    assert len(expected) == tiny.RUNS
    moments, tally = random.Random(f"{SEED} {mode.name}"), Tally(mode)
    table.append(tally)
    life = lifetime(mode, fresh(whole, tmp_path / "undisturbed", mode))
    while tally.kills < mode.kills:
        results = fresh(whole, tmp_path / f"after {tally.kills} kills", mode)
        store = tiny.store_of(results)
        tally.seen = {}
        for _ in range(moments.randint(1, KILLS_IN_A_ROW)):
            tally.kills += killed(mode, results, store, life, moments)
            tally.look(store, expected)
            if store.finished() == expected.keys():
                break
        resume(mode, results)
        tally.look(store, expected)
        tally.resumed += 1
        tally.lost += len(expected.keys() - store.finished())
        assert not list(store.runs.glob(f"{TEMPORARY}*"))
        shutil.rmtree(results)
    assert (tally.lost, tally.doubled, tally.different) == (0, 0, 0)


def fresh(whole: Path, results: Path, mode: Mode) -> Path:
    """A folder without records, with the throughput of the undisturbed run where it is timed."""
    if mode.is_timed:
        kept = tiny.store_of(whole).folder / "throughput"
        shutil.copytree(kept, tiny.store_of(results).folder / "throughput")
    return results


def lifetime(mode: Mode, results: Path) -> float:
    """Seconds that the command takes when nobody kills it."""
    started = time.monotonic()
    resume(mode, results)
    return time.monotonic() - started


def resume(mode: Mode, results: Path) -> None:
    """Run the command, as many times at once as the mode has launchers, to its end."""
    processes = [tiny.start(results, *mode.arguments) for _ in range(mode.launchers)]
    assert [process.wait(work.LONG_SECONDS) for process in processes] == [0] * mode.launchers


def killed(mode: Mode, results: Path, store: Store, life: float, moments: random.Random) -> int:
    """Start the command and kill it: at any moment of its life, or at any after its folder is
    there. How many were killed before they ended; nothing of them is alive then."""
    processes = [tiny.start(results, *mode.arguments) for _ in range(mode.launchers)]
    if moments.random() < 0.5:
        await_any(processes, store.runs.exists)
        life /= 2
    count = 0
    for process in processes:
        deadline = time.monotonic() + moments.uniform(0, life)
        await_any([process], lambda deadline=deadline: time.monotonic() > deadline)
        count += process.poll() is None
        tiny.kill(process, mode.is_parent_alone) if process.poll() is None else process.wait()
        life /= 4  # the other one soon after
    for process in processes:
        assert work.eventually(lambda leader=process.pid: not tiny.group(leader)), "outlived"
    return count


def await_any(processes: list[Popen[bytes]], is_there: Callable[[], bool]) -> None:
    """Wait until the condition holds, or all processes have ended."""
    while not is_there() and any(process.poll() is None for process in processes):
        time.sleep(0.002)
