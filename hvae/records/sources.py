"""The sources of `hvae` as they lie on disk: a record made by others is stale. Imports no torch."""

from pathlib import Path

from hvae.records.code_digest import code_digest, source_files

SOURCES = Path(__file__).parents[1]  # of the package


class SourcesChanged(RuntimeError):
    """The sources on disk are no longer those that a grid was started with."""


def sources_sha256() -> str:
    """Digest of the code of `hvae` as it lies on disk."""
    return code_digest(SOURCES, source_files(SOURCES))


def require_sources(expected_sha256: str) -> None:
    """Raise `SourcesChanged` where the sources on disk are not those of this digest."""
    sha256 = sources_sha256()
    if sha256 != expected_sha256:
        raise SourcesChanged(
            "hvae's sources changed while the grid ran: their digest was "
            f"{expected_sha256[:12]}, it is {sha256[:12]}; start the command again"
        )
