"""Stores to fill, and one study that is whole."""

from pathlib import Path

import pytest
from builders import design, leave_out_layout, record, study_of

from hvae.records.store import Store
from report.data.frames import Study
from report.study import writer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store that may be written."""
    return opened(tmp_path / "study")


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every run of the default `design`, finished: read only."""
    store = opened(tmp_path_factory.mktemp("full") / "study")
    for run in design().runs:
        store.write(record(run))
    return store


@pytest.fixture(scope="session")
def full_study(full_store: Store) -> Study:
    """The default `design`, read from `full_store`."""
    return study_of(full_store, design())


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their figures, for tests of words and tables: figures take nearly all the
    time."""
    monkeypatch.setattr(writer, "figures", lambda study: [])


@pytest.fixture
def no_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels where they fall, for tests of what is drawn in them."""
    leave_out_layout(monkeypatch)


def opened(folder: Path) -> Store:
    store = Store(folder)
    store.open_for_writing()
    return store
