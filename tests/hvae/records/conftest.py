"""Sources of one's own in place of the package's."""

from pathlib import Path

import pytest


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources in place of the package's, outside any checkout."""
    folder = tmp_path / "hvae"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    (folder / "b.py").write_text("y = 2\n")
    monkeypatch.setattr("hvae.records.sources.SOURCES", folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return folder
