"""A store, and the synthetic records and grids to fill it with."""

from collections.abc import Callable
from pathlib import Path

import pytest
from builders import grid, record

from hvae.config import RunConfig
from hvae.records.store import Record, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store that may be written."""
    opened = Store(tmp_path / "study")
    opened.open_for_writing()
    return opened


@pytest.fixture
def make_grid() -> Callable[..., list[RunConfig]]:
    return grid


@pytest.fixture
def make_record() -> Callable[..., Record]:
    return record


@pytest.fixture
def full_store(store: Store) -> Store:
    """Every run of the default `grid`, finished."""
    for config in grid():
        store.write(record(config))
    return store
