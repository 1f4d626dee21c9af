"""hvae/records/claims.py: what another process holds is not ours, until it lets go or is killed."""

import errno
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvae.records.claims import Claims

FIRST, SECOND, LARGEST = 0, 1, 2**62 - 1
OTHER = """
import sys
from pathlib import Path
from hvae.records.claims import Claims

folder = Path(sys.argv[1])
claims = Claims(folder / "claims")
for line in sys.stdin:
    what, number = line.split()
    if what == "alone":
        print("asks", flush=True)
        with claims.alone(int(number)):
            print((folder / "released").exists(), flush=True)
    else:
        print(getattr(claims, what)(int(number)), flush=True)
"""


class Other:
    """Another process that claims what it is told."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, number: int) -> str:
        assert self.process.stdin
        print(what, number, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        with self.process:  # waits, and closes its pipes
            self.process.kill()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    started = Other(tmp_path)
    yield started
    started.kill()


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    with Claims(tmp_path / "claims") as opened:
        yield opened


def test_a_number_is_one_processs_at_a_time(claims: Claims, other: Other) -> None:
    assert claims.take(FIRST)
    assert claims.take(FIRST)
    assert other.ask("take", FIRST) == "False"
    assert other.ask("take", SECOND) == other.ask("take", LARGEST) == "True"
    assert not claims.take(SECOND)
    assert not claims.take(LARGEST)
    claims.release(FIRST)
    assert other.ask("take", FIRST) == "True"
    assert claims.are_kept


def test_what_a_killed_process_held_is_free(claims: Claims, other: Other) -> None:
    assert other.ask("take", FIRST) == "True"
    assert not claims.take(FIRST)
    other.kill()
    assert claims.take(FIRST)


def test_what_is_closed_is_free(claims: Claims, other: Other, tmp_path: Path) -> None:
    assert claims.take(FIRST)
    claims.close()
    assert other.ask("take", FIRST) == "True"


def test_who_wants_to_be_alone_waits(claims: Claims, other: Other, tmp_path: Path) -> None:
    assert claims.take(FIRST)
    assert other.ask("alone", FIRST) == "asks"
    (tmp_path / "released").touch()
    claims.release(FIRST)
    assert other.answer() == "True"
    with claims.alone(FIRST):
        assert other.ask("take", FIRST) == "False"
    assert other.ask("take", FIRST) == "True"


def test_without_locks_every_claim_succeeds_and_that_is_known(
    claims: Claims, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    assert other.ask("take", FIRST) == "True"
    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert claims.take(FIRST)
    assert not claims.are_kept
