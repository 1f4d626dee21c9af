"""What a terminal is given: text of others as text, and streams that may be closed or full."""

import contextlib
import io
import os
import sys
from typing import Any

from hvae.text import visible

STANDARD = (0, 1, 2)  # descriptors


def printable(text: str) -> str:
    """The text in one line, what a terminal would obey as its escape: the words of a study and an
    error of another machine are no commands."""
    return visible(" ".join(text.split()))


class Heedless:
    """A stream for progress, which is worth no run: what cannot be written is left out."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def prepare_streams() -> None:
    """Make stderr heedless, and stdout able to write any text; a descriptor that is closed leads
    nowhere, else the next file to be opened took its place, and a worker would write into it."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
    if not isinstance(sys.stderr, Heedless):
        sys.stderr = Heedless(sys.stderr or open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what is no UTF-8
        is_utf8 = sys.stdout.encoding.lower() in ("utf-8", "utf8")
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")
