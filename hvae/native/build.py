"""`step.c` as a library that Python calls: compiled at its first use on a machine, then kept.

Nothing needs it: without a C compiler training goes on without, at less than half the speed.
Imports no torch.
"""

import contextlib
import ctypes
import errno
import hashlib
import importlib.util
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

import platformdirs

from hvae.native.bindings import declare
from hvae.records.files import overwrite

SOURCE = Path(__file__).with_name("step.c")
# No -ffast-math: NaN must stay NaN, and sums keep their order.
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fPIC")
NATIVE = "-march=native"  # the vectors of this processor
WHOLE_VECTORS = "-mprefer-vector-width=512"  # Clang splits them otherwise: 1.5 times the time
NO_COMPILER = "no C compiler found ($CC, cc, gcc, clang; or pip install ziglang)"
SHA256 = ".sha256"  # beside a library: of its bytes
BUILD_SECONDS = 120.0  # at most; 3 are usual
SECONDS = 10.0  # to ask the compiler something
# What a folder says that takes no library: not there, read-only, noexec, full (the linker says so);
# or platformdirs, of a user without a home.
UNFIT = (OSError, RuntimeError, subprocess.CalledProcessError)


def c_compiler() -> list[str] | None:
    """The command of the C compiler: $CC with its options, cc, gcc, clang, or the one in the
    package `ziglang`."""
    for name, *options in (named_compiler(), ["cc"], ["gcc"], ["clang"]):
        if found := shutil.which(name):
            return [found, *options]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def named_compiler() -> list[str]:
    """The words of $CC; an empty one where there are none."""
    named = os.environ.get("CC", "")
    try:
        return shlex.split(named) or [""]
    except ValueError:  # a quotation that does not end
        return [named]


def compiler_name() -> str | None:
    """The same as words, its folder left out; None where there is none."""
    command = c_compiler()
    return None if command is None else " ".join([Path(command[0]).name, *command[1:]])


@cache
def library(*, is_double: bool) -> ctypes.CDLL | None:
    """`step.c` compiled for this processor; None, with a warning that says why, where it cannot
    be had."""
    compiler = c_compiler()
    if compiler is None:
        warnings.warn(f"{NO_COMPILER}: training takes more than twice as long", stacklevel=2)
        return None
    if (named := named_compiler()[0]) and not shutil.which(named):
        warnings.warn(f"$CC: {named!r} is not there; {compiler[0]} compiles", stacklevel=2)
    try:
        found = _loaded(compiler, is_double)
        declare(found)
        return found
    except (*UNFIT, subprocess.TimeoutExpired) as error:
        why = _reason(error)
        warnings.warn(f"cannot compile {SOURCE.name}, going on without: {why}", stacklevel=2)
        return None


def _reason(error: Exception) -> str:
    """Its first line, or the compiler's."""
    said = getattr(error, "stderr", None) or str(error)
    words = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return words.strip().partition("\n")[0]


def _loaded(compiler: list[str], is_double: bool) -> ctypes.CDLL:
    """The library out of the first folder that can be written and execute it; its file is named by
    all that made it, so that a cache shared by machines holds one for each kind of processor."""
    command = [*compiler, *FLAGS, NATIVE, *(["-DDOUBLE"] if is_double else [])]
    macros = _run([*command, "-dM", "-E", "-x", "c", os.devnull], SECONDS)
    if b"__AVX512F__" in macros:
        command.append(WHOLE_VECTORS)
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))
    key = hashlib.sha256(repr(command).encode() + macros + sources).hexdigest()[:16]
    usual = Path("the cache folder")
    try:
        usual = platformdirs.user_cache_path("hvae") / "compiled"
        return _kept(usual / f"step-{key}.so") or _built(command, usual / f"step-{key}.so")
    except UNFIT as error:
        for folder in _spare_folders():
            with contextlib.suppress(*UNFIT):
                path = _private(folder) / f"step-{key}.so"
                if found := _kept(path):
                    return found
                found = _built(command, path)
                why = _reason(error)
                warnings.warn(f"{usual} takes no library ({why}): {path} is it", stacklevel=3)
                return found
        raise


def _spare_folders() -> list[str]:
    """Where else a library may lie and be executed: a home may be read-only, a TMPDIR noexec."""
    return [tempfile.gettempdir(), "/var/tmp", "/dev/shm"]


def _private(parent: str) -> Path:
    """A folder of this user alone: nobody else may lay a library there. Raises `OSError`."""
    folder = Path(parent) / f"hvae-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "not a folder of this user alone", str(folder))
    return folder


def _kept(path: Path) -> ctypes.CDLL | None:
    """The library that was kept, if it is there and whole: a damaged one is built anew."""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        is_whole = path.with_suffix(SHA256).read_text() == sha256
    except (OSError, UnicodeDecodeError):
        return None
    return ctypes.CDLL(str(path)) if is_whole else None


def _built(command: list[str], path: Path) -> ctypes.CDLL:
    """Compile the library and keep it at `path`: built beside it, where it is to be executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        _run([*command, str(SOURCE), "-o", str(made), "-lm"], BUILD_SECONDS)
        ctypes.CDLL(str(made))  # what cannot be loaded must not be kept
        content = made.read_bytes()
        overwrite(path.with_suffix(SHA256), hashlib.sha256(content).hexdigest().encode())
        overwrite(path, content)
    return ctypes.CDLL(str(path))


def _run(command: list[str], seconds: float) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=seconds)
    if done.returncode:
        raise subprocess.CalledProcessError(
            done.returncode, command, stderr=done.stderr.decode(errors="replace")
        )
    return done.stdout
