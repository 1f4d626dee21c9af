"""Any record, and any file beside one: said to be damaged, or taken as it is; never a traceback."""

import copy
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from builders import record, write_pictures
from hypothesis import strategies as st

from ablations.grid import runs
from ablations.study_files import load_study
from hvae.model.hierarchy import initial, state
from hvae.records.attachments import arrays_file, weights_file
from hvae.records.sources import sources_sha256
from hvae.records.store import Store
from hvae.settings import digest

STUDY = '[axes]\ndepth = [1, 2]\n[set]\nlatent = 2\n"data.name" = "digits"\n"train.epochs" = 2\n'
Change = Callable[[Any], Any]


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[list[int], str, Any]]:
    """Where in a document (by turns at its lists and tables), what is done there, and with what."""
    place = st.lists(st.integers(0, 40), min_size=1, max_size=4)
    deed = st.sampled_from(["replace", "replace", "delete", "add"])
    one = st.tuples(place, deed, hostile.json_values)
    return draw(st.lists(one, min_size=1, max_size=3))


def mutated(document: Any, changes: list[tuple[list[int], str, Any]]) -> Any:
    document = copy.deepcopy(document)
    for place, deed, new in changes:
        held: Any = document
        for turn in place[:-1]:
            inner = list(held.values() if isinstance(held, dict) else held)
            inner = [part for part in inner if isinstance(part, dict | list) and part]
            held = inner[turn % len(inner)] if inner else held
        if not held:
            continue
        keys = list(held) if isinstance(held, dict) else list(range(len(held)))
        key = keys[place[-1] % len(keys)]
        if deed == "delete":
            del held[key]
        elif deed == "replace":
            held[key] = new
        elif isinstance(held, dict):
            held[str(new)] = new
        else:
            held.append(new)
    return document


def with_checksum(document: Any) -> Any:
    """As if another hvae, or another hand, had written it."""
    if isinstance(document, dict):
        document.pop("checksum", None)
        try:
            text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except ValueError:
            return document
        document["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    return document


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two runs of a study with their files."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(STUDY)
    made = Store(Path("results") / "mine")
    made.open_for_writing()
    code = {"version": "0", "sources_sha256": sources_sha256()}
    for run in runs(load_study("mine.toml")):
        weights = {".safetensors": weights_file(state(initial(run)), run)}
        made.write(record(run, code=code), weights)
        write_pictures(made, run)
    return made


def state_of(store: Store, name: str) -> str:
    """How a run stands, once every command that reads it has."""
    listed = json.loads(hostile.call(["status", "mine.toml", "--json"]).stdout)["runs"][name]
    hostile.call(["status", "mine.toml"])
    hostile.call(["plan", "mine.toml"])
    hostile.call(["sample", "mine.toml", "--depth", "2", "--count", "1", "--out", "x.png"])
    return str(listed["state"])


def reports(count: list[int], each: int = 10) -> None:
    """Of each tenth input the tables, which take a third of a second, of each 200th the page."""
    count.append(0)
    if len(count) % 200 == 0:
        hostile.call(["report", "mine.toml", "--format", "html"])
    elif len(count) % each == 0:
        hostile.call(["report", "mine.toml", "--format", "csv,md"])


def test_a_record_that_was_changed_is_said_to_be_damaged(fuzz: Any, store: Store) -> None:
    name = digest(runs(load_study("mine.toml"))[1])
    path, whole = store.path(name), store.path(name).read_bytes()
    document, count = json.loads(whole), list[int]()

    def check(changes: Any) -> str:
        changed = mutated(document, changes)
        path.write_text(json.dumps(changed))
        found = state_of(store, name)
        reports(count)
        same = json.dumps(changed, sort_keys=True) == json.dumps(document, sort_keys=True)
        assert found == ("done" if same else "damaged")
        return found

    fuzz("records", 50, mutations(), check)


def test_a_record_of_any_bytes_is_said_to_be_damaged(fuzz: Any, store: Store) -> None:
    name = digest(runs(load_study("mine.toml"))[1])
    path, whole = store.path(name), store.path(name).read_bytes()
    known = [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"null", b"1e999", b"{}"]
    nested = st.integers(0, len(known) - 1)  # by number: a failure prints what it was given
    cut = st.integers(0, len(whole) - 3).map(lambda n: whole[:n])
    count: list[int] = []

    def check(content: bytes | int) -> str:
        path.write_bytes(known[content] if isinstance(content, int) else content)
        found = state_of(store, name)
        reports(count)
        assert found == "damaged"
        return found

    fuzz("record bytes", 10, st.one_of(nested, cut, st.binary(max_size=20)), check)


def test_a_forged_record_ends_no_command_in_a_traceback(fuzz: Any, store: Store) -> None:
    name = digest(runs(load_study("mine.toml"))[1])
    path, document = store.path(name), json.loads(store.path(name).read_bytes())
    count: list[int] = []

    def check(changes: Any) -> str:
        path.write_text(json.dumps(with_checksum(mutated(document, changes))))
        found = state_of(store, name)
        reports(count)
        return found

    fuzz("forged records", 50, mutations(), check)


def test_the_note_of_a_failure_may_hold_anything(fuzz: Any, store: Store) -> None:
    run = runs(load_study("mine.toml"))[1]
    store.path(digest(run)).unlink()
    store.write_failure(run, RuntimeError("no luck"))
    path = store.failure_path(digest(run))
    document = json.loads(path.read_bytes())
    count: list[int] = []

    def check(changes: Any) -> str:
        path.write_text(json.dumps(mutated(document, changes)))
        found = state_of(store, digest(run))
        reports(count)
        assert found == "failed"
        return found

    fuzz("failures", 20, mutations(), check)


SHAPES = st.sampled_from([(), (0,), (1,), (3,), (16, 64), (10, 64), (2, 7, 64), (16, 63), (360,)])
KINDS = st.sampled_from(["u1", "f4", "f8", "i8", "U3", "?", "c8", "S2", "M8[s]"])
NAMES = st.sampled_from(
    ["samples", "originals", "reconstructions", "traversals", "traversal_units", "nll_nats", "../x"]
)


def npz(arrays: dict[str, tuple[tuple[int, ...], str]]) -> bytes:
    return arrays_file({name: np.zeros(shape, kind) for name, (shape, kind) in arrays.items()})


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, samples=np.array([{"a": print}], dtype=object))
    return buffer.getvalue()


def changes_of(whole: bytes) -> st.SearchStrategy[bytes]:
    """Bytes cut short, flipped, or others."""
    places = st.integers(0, len(whole) - 1)
    flipped = places.map(lambda n: whole[:n] + bytes([whole[n] ^ 0x55]) + whole[n + 1 :])
    return st.one_of(places.map(lambda n: whole[:n]), flipped, st.binary(max_size=30))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_the_files_beside_a_record_may_hold_anything(suffix: str, fuzz: Any, store: Store) -> None:
    name = digest(runs(load_study("mine.toml"))[1])
    path = store.path(name).with_suffix(suffix)
    inputs = changes_of(path.read_bytes())
    if suffix == ".npz":
        others = st.dictionaries(NAMES, st.tuples(SHAPES, KINDS), max_size=5).map(npz)
        inputs = st.one_of(inputs, others, st.just(pickled()))
    count: list[int] = []

    def check(content: bytes) -> str:
        path.write_bytes(content)
        found = state_of(store, name)
        reports(count, 1 if suffix == ".npz" else 10)  # it alone reads these
        assert found == "done"  # the record needs none of them
        return found

    fuzz(f"*{suffix}", 15, inputs, check)
