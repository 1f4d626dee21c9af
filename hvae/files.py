"""Files that are whole or not there, whatever is killed and whoever writes beside us.

Temporary file in the same folder → flush → fsync → link or rename. What a kill leaves behind is
swept by whoever opens the folder next, perhaps while we write: then the write is tried again.
"""

import contextlib
import os
import secrets
from pathlib import Path

TEMPORARY = ".partial-"


def publish(path: Path, content: bytes) -> bool:
    """Make `path` hold `content`, whole or not at all; False where it already exists."""
    while True:
        temporary = _write_temporary(path.parent, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except FileNotFoundError:  # another process, starting, swept our temporary file
            continue
        finally:
            temporary.unlink(missing_ok=True)
        fsync_folder(path.parent)
        return True


def overwrite(path: Path, content: bytes) -> None:
    """Make `path` hold `content` in place of what it held, at every moment one or the other."""
    while True:
        temporary = _write_temporary(path.parent, content)
        with contextlib.suppress(FileNotFoundError):  # swept like that of `publish`: once more
            os.replace(temporary, path)
            return


def sweep(folder: Path) -> None:
    """Remove what killed writers left half written."""
    for stray in folder.glob(f"{TEMPORARY}*"):
        stray.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make the folder's names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_temporary(folder: Path, content: bytes) -> Path:
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    with path.open("xb") as file:  # not tempfile's, which nobody else may read
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path
