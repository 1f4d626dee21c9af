"""Two `hvae run` on one folder: each run is trained by one of them, and none is left out."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import SOURCES, design, record
from displays import Shown, shared

from ablations.grid import Pack
from ablations.run import sharing as sharing_module
from ablations.run.sharing import FILE, TIMING, Sharing
from hvae.config import RunConfig
from hvae.records.claims import Claims
from hvae.records.store import Store
from hvae.settings import digest

RUNS = design({"depth": (1,), "latent": (2,)}, seeds=3).runs
PACK = Pack("quick", RUNS)
HOLD = """
import sys
from pathlib import Path
from hvae.records.claims import Claims

claims = Claims(Path(sys.argv[1]))
if not all(claims.take(int(number)) for number in sys.argv[2:]):
    sys.exit("others hold it")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sharing(store: Store) -> Iterator[Sharing]:
    with shared(store, Shown(), SOURCES, store.folder / FILE) as opened:
        yield opened


@contextmanager
def held(store: Store, *numbers: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds these claims until it is killed, at the end of the block."""
    command = [sys.executable, "-c", HOLD, str(store.folder / FILE), *map(str, numbers)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def claim(run: RunConfig) -> int:
    return sharing_module._number(digest(run))


def test_a_pack_that_nobody_else_trains_is_taken_as_it_is(sharing: Sharing) -> None:
    assert list(sharing.take([PACK])) == [PACK]
    assert sharing.rest() == []


def test_of_a_pack_only_what_nobody_else_trains_is_taken_and_the_rest_later(
    sharing: Sharing, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(store, claim(RUNS[1])):
        (mine,) = sharing.take([PACK])
        assert mine.runs == (RUNS[0], RUNS[2])
        assert mine.members == PACK.members  # for an engine whose bits depend on all of them
        (others,) = sharing.rest()
        assert others.runs == (RUNS[1],)
        assert list(sharing.take([others])) == []
        assert capsys.readouterr().err == ""
        assert sharing.rest() == [others]
        assert "trained by another hvae run: waiting" in capsys.readouterr().err
    assert [pack.runs for pack in sharing.take([others])] == [(RUNS[1],)]


def test_what_another_recorded_meanwhile_is_shown_and_not_trained_again(
    sharing: Sharing, store: Store
) -> None:
    store.write(record(RUNS[1]))
    (mine,) = sharing.take([PACK])
    assert mine.runs == (RUNS[0], RUNS[2])
    assert sharing.rest() == []
    shown: Any = sharing.shown
    assert [made.run for made in shown.records] == [RUNS[1]]
    assert shown.left[PACK] == [mine]
    with held(store, claim(RUNS[1])):  # which is not ours to hold
        pass


def test_a_file_system_without_locks_is_said_once(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take(self: Claims, number: int) -> bool:
        self.are_kept = False
        return True

    monkeypatch.setattr(Claims, "take", take)
    packs = sharing.take([PACK, PACK])
    assert next(packs) == PACK
    assert capsys.readouterr().err.count("keeps no locks") == 1  # before the first is trained
    assert [*packs, *sharing.take([PACK])] == [PACK, PACK]
    assert capsys.readouterr().err == ""


def test_the_models_are_timed_by_nobody_else_meanwhile(
    sharing: Sharing, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with held(store, TIMING) as other:

        def end_it(line: str) -> None:
            said.append(line)
            other.kill()

        monkeypatch.setattr(sharing_module, "say", end_it)
        with sharing.timing():
            assert said == ["another hvae run is timing the models: waiting for it"]
            with pytest.raises(AssertionError), held(store, TIMING):
                pass


def test_claims_on_runs_leave_that_on_timing_alone() -> None:
    assert sharing_module._number("f" * 16) < TIMING


@pytest.mark.slow
def test_two_launchers_train_every_pack_once(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        'seeds = 4\n[axes]\ndepth = [1, 2, 3]\nlatent = [2]\n[set]\n"data.name" = "digits"\n'
        '"train.epochs" = 4\n"evaluation.importance_samples" = 10\n'
    )
    command = [sys.executable, "-m", "hvae", "run", "tiny.toml", "--executor", "serial"]
    launchers = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [launcher.communicate()[1].decode() for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], said
    trained = [line for text in said for line in text.splitlines() if "evaluated" in line]
    packs = {line.partition(": trained and evaluated ")[2].partition(";")[0] for line in trained}
    assert len(trained) == len(packs) > 1
    assert len(Store(tmp_path / "results" / "tiny").finished()) == 12
