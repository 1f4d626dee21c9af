import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.grid import runs
from ablations.presets import PRESETS
from hvae.records.sources import sources_sha256
from hvae.records.standings import STATES, count, refuse_damaged, survey, to_run
from hvae.records.store import SCHEMA, Record, Store
from hvae.settings import digest

RUNS = runs(PRESETS["quick"])[:7]
MakeRecord = Callable[..., Record]


@pytest.fixture
def store(tmp_path: Path, make_record: MakeRecord) -> Store:
    """A run in every state: done, missing, failed, stale, damaged, diverged, unreadable."""
    store = Store(tmp_path)
    store.open_for_writing()
    store.write(make_record(RUNS[0]))
    store.write_failure(RUNS[2], ValueError("no luck"))
    store.write(replace(make_record(RUNS[3]), code={"sources_sha256": "other", "version": "0.0"}))
    store.path(digest(RUNS[4])).write_text('{"schema": 1, "stu')
    store.write(make_record(RUNS[5], nll=None))
    store.path(digest(RUNS[6])).mkdir()  # root, who runs CI, may read any file
    return store


def test_every_state_is_told_apart(store: Store) -> None:
    standings = survey(store, RUNS, sources_sha256())
    states = ["done", "missing", "failed", "stale", "damaged", "diverged", "unreadable"]
    assert [standing.state for standing in standings] == states
    assert count(standings) == dict.fromkeys(STATES, 1)
    assert [s.digest for s in standings] == [digest(run) for run in RUNS]


def test_what_is_not_well_says_why(store: Store) -> None:
    done, missing, failed, stale, damaged, _, unreadable = survey(store, RUNS, sources_sha256())
    assert done.reason == missing.reason == ""
    assert failed.reason == "ValueError: no luck"
    assert stale.reason == "made by other sources of hvae (version 0.0)"
    assert "not a whole record" in damaged.reason
    assert unreadable.reason.endswith(f"{digest(RUNS[6])}.json: cannot be read: Is a directory")


def test_missing_and_failed_are_run_and_stale_only_where_asked(store: Store) -> None:
    standings = survey(store, RUNS, sources_sha256())
    assert to_run(standings) == {digest(RUNS[1]), digest(RUNS[2])}
    assert to_run(standings, redo_stale=True) == {digest(run) for run in RUNS[1:4]}


def test_what_is_recorded_is_run_again_only_where_its_weights_are_wanted_and_missing(
    store: Store,
) -> None:
    def wanted() -> set[str]:
        return to_run(survey(store, RUNS, sources_sha256()), keeps_weights=True)

    assert wanted() == {digest(RUNS[n]) for n in (0, 1, 2, 5)}  # no stale record
    for recorded in (RUNS[0], RUNS[5]):
        store.weights_path(digest(recorded)).write_bytes(b"weights")
    assert wanted() == {digest(RUNS[1]), digest(RUNS[2])}


def test_damage_is_refused_with_its_reason(store: Store) -> None:
    standings = survey(store, RUNS, sources_sha256())
    with pytest.raises(ValueError, match=rf"{digest(RUNS[4])}\.json: not a whole record"):
        refuse_damaged(standings)
    with pytest.raises(ValueError, match=rf"{digest(RUNS[6])}\.json: cannot be read"):
        refuse_damaged(standings[5:])
    refuse_damaged(standings[:4])


def test_an_older_schema_is_stale(
    store: Store, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("hvae.records.store", "hvae.records.standings"):
        monkeypatch.setattr(f"{module}.SCHEMA", SCHEMA + 1)
    (standing,) = survey(store, RUNS[:1], sources_sha256())
    assert (standing.state, standing.reason[:8]) == ("stale", f"schema {SCHEMA}")


@pytest.mark.parametrize("note", ["{", json.dumps({"digest": "x", "unknown": 1})])
def test_an_unreadable_failure_is_a_failure(store: Store, note: str) -> None:
    store.failure_path(digest(RUNS[2])).write_text(note)
    (standing,) = survey(store, RUNS[2:3], sources_sha256())
    assert standing.state == "failed"
    assert standing.reason.startswith("unreadable note")


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    standings = survey(Store(tmp_path / "none"), RUNS, sources_sha256())
    assert count(standings)["missing"] == len(RUNS)
    assert not (tmp_path / "none").exists()


def test_a_record_that_failed_to_be_redone_says_so(store: Store) -> None:
    done = RUNS[0]
    store.write_failure(done, RuntimeError("no luck"))
    (standing,) = survey(store, [done], sources_sha256())
    assert (standing.state, standing.reason) == (
        "done",
        "trained again it failed: RuntimeError: no luck",
    )
