"""`step.c` as a library that Python calls: compiled at its first use on a machine, then kept.

Nothing needs it: without a C compiler training goes on without, at less than half the speed.
Imports no torch.
"""

import ctypes
import hashlib
import importlib.util
import os
import shutil
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
BUILD_SECONDS = 120.0  # at most; 3 are usual
SECONDS = 10.0  # to ask the compiler something


def c_compiler() -> list[str] | None:
    """The command of the C compiler: $CC, cc, gcc, clang, or the one in the package `ziglang`."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (found := shutil.which(name)):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def compiler_name() -> str | None:
    """The same as words, its folder left out; None where there is none."""
    command = c_compiler()
    return None if command is None else " ".join([Path(command[0]).name, *command[1:]])


@cache
def library(is_double: bool = False) -> ctypes.CDLL | None:
    """`step.c` compiled for this processor; None, with a warning that says why, where it cannot
    be had."""
    compiler = c_compiler()
    if compiler is None:
        warnings.warn(f"{NO_COMPILER}: training takes more than twice as long", stacklevel=2)
        return None
    try:
        found = ctypes.CDLL(str(_built(compiler, is_double)))
        declare(found)
        return found
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().partition("\n")[0]
        warnings.warn(f"cannot compile {SOURCE.name}, going on without: {reason}", stacklevel=2)
        return None


def _built(compiler: list[str], is_double: bool) -> Path:
    """The library's file, named by all that made it, so that a cache shared by machines holds one
    for each kind of processor."""
    command = [*compiler, *FLAGS, NATIVE, *(["-DDOUBLE"] if is_double else [])]
    macros = _run([*command, "-dM", "-E", "-x", "c", os.devnull], SECONDS)
    if b"__AVX512F__" in macros:
        command.append(WHOLE_VECTORS)
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.[ch]")))
    key = hashlib.sha256(repr(command).encode() + macros + sources).hexdigest()[:16]
    kept = platformdirs.user_cache_path("hvae") / "compiled" / f"step-{key}.so"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / kept.name
            _run([*command, str(SOURCE), "-o", str(made), "-lm"], BUILD_SECONDS)
            ctypes.CDLL(str(made))  # what cannot be loaded must not be kept
            overwrite(kept, made.read_bytes())
    return kept


def _run(command: list[str], seconds: float) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=seconds)
    if done.returncode:
        raise subprocess.CalledProcessError(
            done.returncode, command, stderr=done.stderr.decode(errors="replace")
        )
    return done.stdout
