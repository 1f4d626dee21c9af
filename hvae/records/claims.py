"""Claims of processes on numbered things, which end with the process, however it ends."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

HELD = (errno.EACCES, errno.EAGAIN)  # what a system says of another process's lock


class Claims:
    """Numbers below 2^62 of which each is one process's at a time, on one machine or on several
    that share a file system: locks on the bytes of a file, which stays empty.

    Where the file system has no locks, `are_kept` turns False and every claim succeeds. Open a file
    once in a process: the system drops all of its locks on a file with the first that is closed.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab")
        self.are_kept = True

    def take(self, number: int) -> bool:
        """Whether the number is this process's now; also where it was already."""
        return self._lock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self, number: int) -> None:
        """Leave the number to others."""
        self._lock(number, fcntl.LOCK_UN)

    @contextmanager
    def alone(self, number: int) -> Iterator[None]:
        """Have the number in the block, which begins once nobody else has it."""
        self._lock(number, fcntl.LOCK_EX)
        try:
            yield
        finally:
            self.release(number)

    def close(self) -> None:
        """Leave all to others."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _lock(self, number: int, how: int) -> bool:
        try:
            fcntl.lockf(self.file, how, 1, number)
        except OSError as error:
            if error.errno in HELD:
                return False
            self.are_kept = False
        return True
