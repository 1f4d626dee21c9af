"""Stores to fill, and one study that is whole."""

from pathlib import Path

import pytest
from builders import design, filled

from hvae.records.store import Store
from report.data.frames import Study


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store that may be written."""
    return opened(tmp_path / "study")


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every run of the default `design`, finished: read only."""
    store = opened(tmp_path_factory.mktemp("full") / "study")
    filled(store, design())
    return store


@pytest.fixture(scope="session")
def full_study(full_store: Store) -> Study:
    """The default `design`, read from `full_store`."""
    return filled(full_store, design())


def opened(folder: Path) -> Store:
    store = Store(folder)
    store.open_for_writing()
    return store
