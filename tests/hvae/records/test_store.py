"""hvae/records/store.py: whole records or none, whatever is killed, damaged or run at once."""

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_functions import eventually

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig, as_dict
from hvae.records import store as records
from hvae.records.files import TEMPORARY
from hvae.records.store import (
    ARRAYS,
    SCHEMA,
    WEIGHTS,
    Record,
    RecordError,
    Store,
    UnreadableError,
)
from hvae.settings import digest

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def run(seed: int = 0) -> RunConfig:
    return RunConfig(ModelConfig(64), TrainConfig(seed=seed), DataConfig("digits"))


def record(seed: int = 0, **changes: Any) -> Record:
    made = Record(
        study="quick",
        digest=digest(run(seed)),
        config=as_dict(run(seed)),
        status="finished",
        data_sha256="0" * 64,
        code={"version": "0", "git_dirty": None},
        environment={"threads": 1},
        parameters=7,
        flops_per_image=9,
        history=[{"epoch": 1, "loss": 0.1, "kl_per_level_nats": [0.3, 0.2]}],
        metrics={"elbo_nats": -1 / 3},
        throughput={},
        seconds={"train": 1e-9},
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store(tmp_path / "results" / "quick")
    opened.open_for_writing()
    return opened


def written(store: Store, made: Record) -> Path:
    assert store.write(made)
    return store.path(made.digest)


def names(store: Store) -> set[str]:
    return {path.name for path in store.runs.iterdir()}


# Reading back.


def test_a_record_comes_back_as_it_went(store: Store) -> None:
    path = written(store, record())
    assert path.name == f"{digest(run())}.json"
    assert store.read(digest(run())) == records.read(path) == record()
    assert record().run == run()
    assert store.finished() == {digest(run())}


@given(metrics=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_metrics_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, metrics: dict[str, Any]
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    store.open_for_writing()
    written(store, record(metrics=metrics))
    back = store.read(record().digest).metrics
    assert back == metrics
    assert json.dumps(back, sort_keys=True) == json.dumps(metrics, sort_keys=True)


def test_non_finite_numbers_become_null_and_tuples_lists(store: Store) -> None:
    metrics = {"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": float("-inf")}, "e": (1, 2)}
    path = written(store, record(metrics=metrics, status="diverged"))
    back = {"a": None, "b": [None, 1.0], "c": {"d": None}, "e": [1, 2]}
    assert store.read(path.stem).metrics == back
    json.loads(path.read_text(), parse_constant=pytest.fail)  # called for NaN and Infinity


def test_the_first_writer_wins(store: Store) -> None:
    first, second = record(), record(metrics={"elbo_nats": 5.0})
    assert store.write(first)
    assert not store.write(second)
    assert store.read(first.digest) == first
    assert names(store) == {f"{first.digest}.json"}


def test_all_records_come_in_the_order_of_their_digests(store: Store) -> None:
    made = [record(seed) for seed in range(5)]
    for one in made:
        store.write(one)
    assert list(store) == sorted(made, key=lambda one: one.digest)


def test_a_store_that_nobody_has_written_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "nothing")
    assert list(store) == []
    assert store.finished() == store.failed() == set()
    assert not store.folder.exists()


# Damage.


def damage(path: Path, change: Callable[[dict[str, Any]], None], is_signed: bool) -> None:
    """Change the content of a record, with a fitting checksum if `is_signed`."""
    body = json.loads(path.read_bytes())
    change(body)
    if is_signed:
        body.pop("checksum", None)
        body["checksum"] = records._checksum(body)
    path.write_text(json.dumps(body))


DAMAGES: list[tuple[str, Callable[[dict[str, Any]], None], bool]] = [
    ("checksum", lambda body: body["metrics"].update(elbo_nats=-0.3), False),
    ("checksum", lambda body: body.pop("checksum"), False),
    ("checksum", lambda body: body.update(parameters=8), False),
    (f"schema {SCHEMA + 1} .* newer", lambda body: body.update(schema=SCHEMA + 1), True),
    (f"schema {SCHEMA + 1} .* newer", lambda body: body.update(schema=SCHEMA + 1, x=1), False),
    ("schema None", lambda body: body.pop("schema"), True),
    ("schema '1'", lambda body: body.update(schema="1"), True),
    ("unknown key of a record 'extra'", lambda body: body.update(extra=1), True),
    ("missing 1 required", lambda body: body.pop("metrics"), True),
    ("unknown section 'other'", lambda body: body["config"].update(other={}), True),
    ("seed: -1", lambda body: body["config"]["train"].update(seed=-1), True),
    ("its own digest only", lambda body: body["config"]["train"].update(seed=9), True),
    ("its own digest only", lambda body: body.update(digest="0" * 16), True),
]


@pytest.mark.parametrize(("message", "change", "is_signed"), DAMAGES)
def test_a_damaged_record_is_refused_in_one_line_naming_the_file(
    store: Store, message: str, change: Callable[[dict[str, Any]], None], is_signed: bool
) -> None:
    path = written(store, record())
    damage(path, change, is_signed)
    with pytest.raises(RecordError, match=message) as refused:
        store.read(path.stem)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_record_cut_anywhere_is_refused(store: Store) -> None:
    path = written(store, record())
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 7):  # without its last newline it is still whole
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match="not a whole record"):
            store.read(path.stem)


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"text"', b"\xff\xfe", b"\0" * 64])
def test_a_file_that_is_no_record_is_refused(store: Store, content: bytes) -> None:
    path = written(store, record())
    path.write_bytes(content)
    with pytest.raises(RecordError, match="not a"):
        store.read(path.stem)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a FIFO": (make_fifo, "not a file"),  # to open it would wait for ever
    "a folder": (Path.mkdir, "Is a directory"),
    "a symlink to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic"),
    "a symlink to nothing": (lambda path: path.symlink_to("nothing"), "No such file"),
}


@pytest.mark.parametrize(("make", "told"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_named_and_nobody_is_told_to_delete_it(
    store: Store, make: Callable[[Path], object], told: str
) -> None:
    make(store.path(digest(run())))
    with pytest.raises(
        UnreadableError, match=f"^{store.path(digest(run()))}: cannot be read: {told}"
    ):
        store.read(digest(run()))
    assert store.finished() == {digest(run())}


def test_a_record_that_may_not_be_read_is_not_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(store, record())

    def refuse(*_: Any) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root, who runs CI, is refused nothing
    with pytest.raises(UnreadableError) as refused:
        store.read(path.stem)
    assert str(refused.value) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + 400 * "0"])
def test_a_number_that_is_none_is_damage(store: Store, number: str) -> None:
    path = written(store, record())
    path.write_text(path.read_text().replace("0.1", number))
    with pytest.raises(RecordError, match=f"not a whole record .*{number}"):
        store.read(path.stem)


def test_brackets_without_end_are_damage(store: Store) -> None:
    store.path("0" * 16).write_text("[" * 100_000)
    with pytest.raises(RecordError, match="not a whole record"):
        store.read("0" * 16)


def test_a_flipped_bit_is_refused_or_changes_nothing(store: Store) -> None:
    """The last digit of a long number may be another that means the same."""
    path, bits = written(store, record()), random.Random(0)
    whole = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[bits.randrange(len(whole))] ^= 1 << bits.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(RecordError):
            assert store.read(path.stem) == record()


def test_a_record_under_another_name_is_refused(store: Store) -> None:
    path = written(store, record())
    path.rename(store.path("0" * 16))
    with pytest.raises(RecordError, match="its own digest only"):
        store.read("0" * 16)


# Failures.


def fail(store: Store, message: str = "out of memory", seed: int = 0) -> None:
    try:
        raise MemoryError(message)
    except MemoryError as error:
        store.write_failure(run(seed), error)


def test_a_failure_tells_what_ran_and_what_happened(store: Store) -> None:
    fail(store)
    failure = store.read_failure(digest(run()))
    assert failure.config == as_dict(run())
    assert failure.exception == "MemoryError: out of memory"
    assert "raise MemoryError(message)" in failure.traceback
    assert store.failed() == {digest(run())}
    assert store.finished() == set()
    assert list(store) == []


def test_a_later_failure_replaces_an_earlier(store: Store) -> None:
    fail(store, "first")
    fail(store, "second")
    assert store.read_failure(digest(run())).exception == "MemoryError: second"


def test_success_clears_a_failure(store: Store) -> None:
    fail(store)
    fail(store, seed=1)
    store.write(record())
    assert store.failed() == {digest(run(1))}
    assert store.finished() == {digest(run())}
    assert not store.failure_path(digest(run())).exists()


def test_a_run_with_a_record_is_not_failed_even_where_a_failure_was_left(store: Store) -> None:
    store.write(record())
    fail(store)
    assert store.failed() == set()


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"digest": ', b'{"other": 1}'])
def test_a_damaged_failure_is_refused(store: Store, content: bytes) -> None:
    store.failure_path("0" * 16).write_bytes(content)
    with pytest.raises(RecordError, match=r"0000\.failed\.json: not a"):
        store.read_failure("0" * 16)


def test_a_record_replaces_one_of_other_sources(store: Store) -> None:
    assert store.write(record(code={"sources_sha256": "other"}))
    assert store.write(record())
    assert store.read(record().digest) == record()


@pytest.mark.parametrize("suffix", [".json", ".failed.json"])
def test_what_is_not_named_by_a_digest_is_no_record(store: Store, suffix: str) -> None:
    name = record().digest
    (store.runs / ".DS_Store").write_text("of another program")
    for foreign in (f"._{name}", f"{name} (1)", name[:-1], name.upper() + "X"):
        (store.runs / f"{foreign}{suffix}").write_text("of another program")
    assert store.finished() == store.failed() == set()


def test_a_full_disk_leaves_no_part_of_a_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        with pytest.raises(OSError, match="No space left"):
            store.write(record(), FILES)
    assert names(store) == set()


@pytest.mark.parametrize("fault", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_whose_folders_know_no_fsync_will_do(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    real = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(fault, os.strerror(fault))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    store.write(record(), FILES)
    assert record().digest in store.finished()


class Killed(BaseException):
    """Stands for SIGKILL where a test must choose the moment."""


WRITER = """
import dataclasses, sys
from pathlib import Path
from hvae.config import *
from hvae.settings import digest
from hvae.records.store import Record, Store

store, seed = Store(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
while True:
    run = RunConfig(ModelConfig(64), TrainConfig(seed=seed), DataConfig("digits"))
    rest = {"parameters": 1, "flops_per_image": 1, "history": [], "throughput": {}}
    rest |= {"metrics": {"x": list(range(2000))}, "seconds": {}, "code": {}, "environment": {}}
    record = Record("quick", digest(run), as_dict(run), "finished", "0", **rest)
    store.write(record, {".npz": b"pictures"})
    seed += 1
"""


def writer(store: Store, first_seed: int) -> subprocess.Popen[str]:
    """A process that writes one record after another until it is killed."""
    command = [sys.executable, "-c", WRITER, str(store.folder), str(first_seed)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_two_writers_killed_at_any_moment_leave_whole_records(store: Store) -> None:
    moments, starts = random.Random(0), itertools.count(0, 100_000)
    for _ in range(4):
        writers = [writer(store, next(starts)) for _ in range(2)]
        there = len(store.finished())
        assert eventually(lambda there=there: len(store.finished()) > there)
        for process in writers:
            time.sleep(moments.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
        for process in writers:
            process.communicate()
    store.open_for_writing()
    found = [one.digest for one in store]  # reads and checks every one
    assert len(found) >= 4
    assert all(beside(store, name) == {ARRAYS: b"pictures"} for name in found)
    assert not [name for name in names(store) if name.startswith(TEMPORARY)]


# What lies beside a record.

FILES = {ARRAYS: b"pictures", WEIGHTS: b"weights"}


def beside(store: Store, name: str) -> dict[str, bytes]:
    """The files beside a record, by suffix."""
    paths = (store.arrays_path(name), store.weights_path(name))
    return {path.suffix: path.read_bytes() for path in paths if path.exists()}


def test_files_lie_beside_their_record_and_nothing_else_does(store: Store) -> None:
    store.write(record(), FILES)
    assert beside(store, record().digest) == FILES
    assert names(store) == {f"{record().digest}{suffix}" for suffix in (".json", ARRAYS, WEIGHTS)}
    assert store.finished() == {record().digest}


@pytest.mark.parametrize("moment", range(3))
def test_a_record_never_lacks_its_files_whenever_the_writer_is_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    moves = itertools.count()

    def die_at_the_moment(real: Callable[..., None]) -> Callable[..., None]:
        def move(*paths: Any) -> None:
            if next(moves) == moment:
                raise Killed
            real(*paths)

        return move

    with monkeypatch.context() as patch:
        for name in ("replace", "link"):
            patch.setattr(os, name, die_at_the_moment(getattr(os, name)))
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # the dead tidy nothing
        with pytest.raises(Killed):
            store.write(record(), FILES)
    assert store.finished() == set()
    store.open_for_writing()
    assert names(store) <= {f"{record().digest}{suffix}" for suffix in FILES}
    store.write(record(), FILES)
    assert beside(store, record().digest) == FILES


def test_a_record_that_stays_keeps_its_files_and_gets_what_it_lacks(store: Store) -> None:
    store.write(record(), {ARRAYS: b"first"})
    store.write(record(), FILES)
    assert beside(store, record().digest) == {ARRAYS: b"first", WEIGHTS: b"weights"}
    store.write(record())
    assert beside(store, record().digest) == {ARRAYS: b"first", WEIGHTS: b"weights"}


def test_what_other_sources_left_does_not_outlive_their_record(store: Store) -> None:
    old = record(code={"sources_sha256": "other"})
    store.write(old, FILES)
    store.write(record(), {ARRAYS: b"new"})
    assert store.read(old.digest).code == record().code
    assert beside(store, old.digest) == {ARRAYS: b"new"}


def test_a_redo_that_is_killed_leaves_no_record_beside_the_files_of_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(record(code={"sources_sha256": "other"}), FILES)
    with monkeypatch.context() as patch:
        patch.setattr("hvae.records.store.publish", raise_killed)
        with pytest.raises(Killed):
            store.write(record(), {ARRAYS: b"new"})
    assert beside(store, record().digest) == {ARRAYS: b"new"}
    assert store.finished() == set()


def test_a_stale_record_stays_where_its_successor_does_not_fit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = record(code={"sources_sha256": "other"})
    store.write(old, FILES)
    asked: list[int] = []

    def full(folder: Path, content: bytes) -> Path:
        asked.append(len(content))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hvae.records.files._write_temporary", full)
    with pytest.raises(OSError, match="No space"):
        store.write(record(), {ARRAYS: b"new" * 1000})
    assert asked[0] > 3000  # as much as all of it takes
    assert store.read(old.digest) == old
    assert beside(store, old.digest) == FILES


def raise_killed(*_: Any) -> bool:
    raise Killed


def test_files_without_a_record_are_of_a_killed_run_and_are_replaced(store: Store) -> None:
    for path in (store.arrays_path(record().digest), store.weights_path(record().digest)):
        path.write_bytes(b"of a killed run")
    store.write(record(), {ARRAYS: b"new"})
    assert beside(store, record().digest) == {ARRAYS: b"new"}


# Opening.


def test_opening_sweeps_what_killed_writers_left(store: Store) -> None:
    kept = written(store, record())
    fail(store, seed=1)
    before = names(store)
    (store.runs / f"{TEMPORARY}abc").write_bytes(b"half a rec")
    store.open_for_writing()
    assert names(store) == before
    assert records.read(kept) == record()


def test_opening_twice_is_as_good_as_once(store: Store) -> None:
    store.open_for_writing()
    assert stat.S_ISDIR(store.runs.stat().st_mode)


@pytest.mark.parametrize("below", [(), ("quick",), ("quick", "runs")])
def test_a_file_where_the_folder_should_be_is_refused(
    tmp_path: Path, below: tuple[str, ...]
) -> None:
    blocked = tmp_path.joinpath("results", *below)
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("")
    folder = tmp_path / "results" / "quick"
    with pytest.raises(ValueError, match=f"^results: cannot write under {folder}: .*allowed: "):
        Store(folder).open_for_writing()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; run as another user")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match=r"cannot write under .*Permission denied; allowed: "):
        Store(tmp_path / "quick").open_for_writing()


def test_a_folder_that_refuses_files_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"cannot write under .*Permission denied; allowed: "):
        store.open_for_writing()


# At once.


def test_a_sweep_between_writing_and_linking_loses_no_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, sweeps = os.link, itertools.count()

    def link_after_a_sweep(source: Path, target: Path) -> None:
        if next(sweeps) < 3:
            store.open_for_writing()
        link(source, target)

    monkeypatch.setattr(os, "link", link_after_a_sweep)
    assert store.write(record())
    assert store.read(record().digest) == record()
    assert next(sweeps) > 3  # it was tried again


def test_two_that_open_at_once_both_may(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.runs / f"{TEMPORARY}abc").touch()  # of a writer that was killed: swept by both
    unlink = os.unlink

    def unlink_after_the_other(path: str) -> None:
        os.remove(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_after_the_other)
    store.open_for_writing()


def test_of_many_writers_of_one_run_exactly_one_wins(store: Store) -> None:
    start, results = threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        results.append((store.write(record(parameters=number)), number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, winner),) = (result for result in results if result[0])
    assert store.read(record().digest).parameters == winner
    assert len(names(store)) == 1
