"""What a store holds of a grid: every run's standing, by digest. Reads; writes nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hvae.config import RunConfig
from hvae.records.store import SCHEMA, Record, RecordError, Store, UnreadableError
from hvae.settings import digest

STATES = ("done", "diverged", "missing", "failed", "stale", "damaged", "unreadable")
UNTRUSTED = ("damaged", "unreadable")  # there, but not to be worked with


@dataclass(frozen=True)
class Standing:
    """One run of a grid and what became of it; `reason` is empty where that says all.

    `record` is there where one can be read, so that nobody reads it a second time.
    """

    run: RunConfig
    digest: str
    state: str
    reason: str = ""
    has_weights: bool = False
    record: Record | None = None


def survey(
    store: Store,
    runs: Iterable[RunConfig],
    sources_sha256: str,
    known: Mapping[str, Standing] | None = None,
) -> list[Standing]:
    """The standing of every run, in the order of `runs`; nothing raised, damage is a standing.

    A record is stale where other `hvae` sources or an older schema made it. What is `known`
    already, by digest, is not read again.
    """
    finished, failed, earlier = store.finished(), store.failed(), known or {}
    return [
        earlier.get(digest(run)) or _standing(store, run, sources_sha256, finished, failed)
        for run in runs
    ]


def count(standings: Iterable[Standing]) -> dict[str, int]:
    """How many runs stand how, every state present."""
    found = Counter(standing.state for standing in standings)
    return {state: found[state] for state in STATES}


def to_run(
    standings: Sequence[Standing], redo_stale: bool = False, keeps_weights: bool = False
) -> set[str]:
    """Digests to train: what is missing, what failed, what is stale where that is asked, and what
    is recorded but without its weights where these are to be kept."""
    states = {"missing", "failed"} | ({"stale"} if redo_stale else set())
    todo = {standing.digest for standing in standings if standing.state in states}
    return todo | (without_weights(standings) if keeps_weights else set())


def without_weights(standings: Iterable[Standing]) -> set[str]:
    """Digests of runs that are recorded but whose weights were not kept."""
    recorded = (s for s in standings if s.state in ("done", "diverged"))
    return {s.digest for s in recorded if not s.has_weights}


def refuse_damaged(standings: Iterable[Standing]) -> None:
    """Raise `ValueError` with what is wrong with the first record that is damaged or cannot be
    read, if there is one."""
    for standing in standings:
        if standing.state in UNTRUSTED:
            raise ValueError(standing.reason)


def staleness(record: Record, sources_sha256: str) -> str:
    """Why a record is stale; empty where it is not."""
    if record.schema != SCHEMA:
        return f"schema {record.schema}; this hvae writes {SCHEMA}"
    if record.code.get("sources_sha256") != sources_sha256:
        return f"made by other sources of hvae (version {record.code.get('version', 'unknown')})"
    return ""


def _standing(
    store: Store, run: RunConfig, sources_sha256: str, finished: set[str], failed: set[str]
) -> Standing:
    name = digest(run)
    if name in finished:
        return _recorded(store, run, name, sources_sha256)
    if name in failed:
        return Standing(run, name, "failed", _failure(store, name))
    return Standing(run, name, "missing")


def _recorded(store: Store, run: RunConfig, name: str, sources_sha256: str) -> Standing:
    try:
        record = store.read(name)
    except RecordError as error:
        state = "unreadable" if isinstance(error, UnreadableError) else "damaged"
        return Standing(run, name, state, str(error))
    stale = staleness(record, sources_sha256)
    state = "stale" if stale else "diverged" if record.status == "diverged" else "done"
    has_failed = store.failure_path(name).exists()
    again = f"trained again it failed: {_failure(store, name)}" if has_failed else ""
    reason = "; ".join(filter(None, [stale, again]))
    return Standing(run, name, state, reason, store.weights_path(name).exists(), record)


def _failure(store: Store, name: str) -> str:
    try:
        return store.read_failure(name).exception
    except RecordError as error:  # an unreadable note is retried like any other
        return f"unreadable note: {error}"
