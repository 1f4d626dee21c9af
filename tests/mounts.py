"""Small file systems of a test's own, where one may mount."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory that holds so much; skips the test where one may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("needs to mount a tmpfs: run as root, not in a container without CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        assert _run("umount", str(folder)) == 0


def remount(folder: Path, options: str) -> None:
    """The same file system with other options: `size=4m`, `ro`, `rw`."""
    assert _run("mount", "-o", f"remount,{options}", str(folder)) == 0


def _run(*command: str) -> int:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except OSError:  # no such program
        return 1
