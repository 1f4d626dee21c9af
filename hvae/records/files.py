"""Files that are whole or not there, whatever is killed and whoever writes beside us.

Temporary file in the same folder → flush → fsync → link or rename. What a kill leaves behind beside
records is swept by whoever opens their folder next, perhaps while we write: then the write is tried
again.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".partial-"
FULL = (errno.ENOSPC, errno.EDQUOT)  # a disk, or what of it one may use


class DiskFull(ValueError):
    """A file that did not fit: the message names the folder. Nothing that was given is wrong."""


def read_whole(path: Path) -> bytes:
    """The content of a file. Raises `OSError`, also for a FIFO: to open one would wait for ever."""
    if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a file", str(path))
    return path.read_bytes()


def publish(path: Path, content: bytes) -> bool:
    """Make `path` hold `content`, whole or not at all; False where it already exists.

    Where there are no hard links, two processes may both make it: the later stays, whole.
    """
    while True:
        temporary = _write_temporary(path.parent, content)
        try:
            _move(temporary, path)
        except FileExistsError:
            return False
        except FileNotFoundError:  # another process, starting, swept our temporary file
            continue
        finally:
            temporary.unlink(missing_ok=True)
        fsync_folder(path.parent)
        return True


def require_room(folder: Path, content: bytes) -> None:
    """Raise `OSError` where a file of that content cannot be written now."""
    _write_temporary(folder, content).unlink(missing_ok=True)


def overwrite(path: Path, content: bytes) -> None:
    """Make `path` hold `content` in place of what it held, at every moment one or the other."""
    while True:
        temporary = _write_temporary(path.parent, content)
        with contextlib.suppress(FileNotFoundError):  # swept like that of `publish`: once more
            os.replace(temporary, path)
            return


@contextlib.contextmanager
def writing_under(folder: Path, field: str = "results") -> Iterator[None]:
    """Writing that fails raises `ValueError`, of a full disk `DiskFull`: one line with the field,
    the folder, the reason."""
    try:
        yield
    except OSError as error:
        fault = f"{field}: cannot write under {folder}: {error.strerror or error}"
        if error.errno in FULL:
            raise DiskFull(f"{fault}; make room and start the command again") from error
        raise ValueError(
            f"{fault}; allowed: a folder you may write, or a path where one can be made"
        ) from error


def prove_writable(folder: Path) -> None:
    """Make the folder and write to it, before minutes are spent. Raises `ValueError` naming it."""
    with writing_under(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe(folder)


def probe(folder: Path) -> None:
    """Publish a file and remove it. Raises `OSError` where the folder takes none."""
    path = folder / f"{TEMPORARY}probe-{secrets.token_hex(8)}"
    publish(path, b"probe")
    path.unlink(missing_ok=True)  # another process may sweep it first


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def sweep(folder: Path) -> None:
    """Remove what killed writers left half written."""
    for stray in folder.glob(f"{TEMPORARY}*"):
        stray.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make the folder's names survive a power cut, where its file system can do so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _move(temporary: Path, path: Path) -> None:
    """Give a temporary file its name. Raises `FileExistsError` where the name is taken.

    Some file systems have no hard links (exFAT, SMB, gcsfuse) and say so in many ways. There the
    file is renamed where the name is free. That is not exclusive, but an exclusive create would be
    worse: a kill while it is written leaves a short file, which stops every later run. Two whole
    files of one name are as good as each other: of failures the later stays anyway, and sources
    that are the same make the same record of a run.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError(path) from None
        os.rename(temporary, path)


def _write_temporary(folder: Path, content: bytes) -> Path:
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:  # not tempfile's, which nobody else may read
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # of a full disk: what is there of the file takes room that others need
        path.unlink(missing_ok=True)
        raise
    return path
