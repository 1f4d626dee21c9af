"""What stands in for the display of a grid in tests, and what shares its runs by it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ablations.grid import Pack
from ablations.run.sharing import Sharing
from hvae.records.claims import Claims
from hvae.records.standings import survey, to_run
from hvae.records.store import Record, Store


class Shown:
    """The records as they came, `then` called after each, and what was left of each pack."""

    def __init__(self, then: Callable[[Record], None] = lambda made: None) -> None:
        self.records: list[Record] = []
        self.then = then
        self.left: dict[Pack, list[Pack]] = {}

    def advance(self, pack: Pack, done: int, total: int) -> None:
        pass

    def replace(self, pack: Pack, parts: list[Pack]) -> None:
        self.left[pack] = parts

    def add(self, made: Record) -> None:
        self.records.append(made)
        self.then(made)


@contextmanager
def shared(store: Store, shown: Any, sources_sha256: str, file: Path) -> Iterator[Sharing]:
    """The runs of a store by the sources at hand, claimed in a file."""
    now = partial(survey, store, sources_sha256=sources_sha256)
    with Claims(file) as claims:
        yield Sharing(claims, now, to_run, shown)
