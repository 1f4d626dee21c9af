"""hvae/records/sources.py: what names the sources, and who is refused by it."""

from pathlib import Path

import pytest

from hvae.records.sources import SourcesChanged, require_sources, sources_sha256


def test_the_digest_of_the_sources_follows_code_and_names(sources: Path) -> None:
    seen = [sources_sha256()]
    (sources / "a.py").write_text('"""Words."""\nx = 1  # more words\n')
    assert sources_sha256() == seen[0]
    (sources / "a.py").write_text("x = 2\n")
    seen.append(sources_sha256())
    (sources / "a.py").rename(sources / "c.py")
    seen.append(sources_sha256())
    (sources / "deep" / "er").mkdir(parents=True)
    (sources / "deep" / "er" / "d.py").write_text("")
    seen.append(sources_sha256())
    assert len(set(seen)) == 4
    assert all(len(value) == 64 for value in seen)


def test_files_that_are_no_sources_leave_the_digest_alone(sources: Path) -> None:
    before = sources_sha256()
    (sources / "__pycache__").mkdir()
    (sources / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"\0")
    (sources / "notes.txt").write_text("n")
    assert sources_sha256() == before


def test_sources_that_changed_are_refused_until_they_are_as_before(sources: Path) -> None:
    before = sources_sha256()
    (sources / "a.py").write_text("x = 2\n")
    with pytest.raises(SourcesChanged, match=rf"was {before[:12]}, .*{sources_sha256()[:12]};"):
        require_sources(before)
    (sources / "a.py").write_text("x = 1\n")
    require_sources(before)
