"""Records to compare: the same runs twice, and what one side has differently."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from builders import design, record

from hvae.config import RunConfig
from hvae.records.store import Record, Store

RUNS = design({"depth": (1, 2)}, seeds=3).runs
Change = Callable[[Record], dict[str, Any]]


def stored(folder: Path, change: Change | None = None, runs: Iterable[RunConfig] = RUNS) -> Store:
    """A store with a record of each run, as `change` makes it."""
    store = Store(folder)
    store.open_for_writing()
    for run in runs:
        store.write(record(run, **(change(record(run)) if change else {})))
    return store


def shifted(**shifts: float) -> Change:
    """Metrics, moved by a constant."""
    return lambda made: {
        "metrics": made.metrics | {name: made.metrics[name] + by for name, by in shifts.items()}
    }


def elsewhere(**environment: Any) -> Change:
    """Another environment; what no environment has is a flag."""

    def change(made: Record) -> dict[str, Any]:
        own = {name: environment.get(name, held) for name, held in made.environment.items()}
        flags = {name: held for name, held in environment.items() if name not in own}
        return {"environment": own | {"flags": own["flags"] | flags}}

    return change
