"""hvae/processes.py, in processes of their own: what it sets, it sets for good."""

import ctypes
import os
import platform
from collections.abc import Callable

import pytest

from hvae import processes as threads

RunPython = Callable[..., str]
MAPPED = """
import ctypes, sys
from hvae.processes import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()

class Info(ctypes.Structure):  # struct mallinfo2 of glibc's malloc.h; hblks: blocks mapped singly
    _fields_ = [(n, ctypes.c_size_t) for n in "arena ordblks smblks hblks hblkhd usmblks fsmblks \
uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.mallinfo2.restype = Info
before = libc.mallinfo2().hblks
libc.malloc(ctypes.c_size_t(int(sys.argv[2]) * 2**20))
print(libc.mallinfo2().hblks - before)
"""


def test_one_thread_sets_threads_and_flushes_denormals(run_python: RunPython) -> None:
    code = (
        "from hvae.processes import one_thread; one_thread(); import os, torch; "
        "tiny = torch.tensor([1e-40]) * 1.0; "
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], tiny.item())"
    )
    assert run_python(code) == "1 1 0.0"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
@pytest.mark.parametrize(
    ("how", "megabytes", "mapped"),
    [("as it is", "8", "1"), ("kept", "8", "0"), ("kept", "64", "1")],
)
def test_a_step_s_temporary_is_mapped_singly_unless_memory_is_kept(
    run_python: RunPython, how: str, megabytes: str, mapped: str
) -> None:
    assert run_python(MAPPED, how, megabytes) == mapped


def test_without_glibc_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("libc was asked"))
    assert threads.keep_freed_memory() is False


def test_importing_it_imports_no_torch(run_python: RunPython) -> None:
    assert run_python("import sys, hvae.processes; print('torch' in sys.modules)") == "False"


def test_the_usable_cores_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.usable_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 3}, raising=False)
    assert threads.usable_cores() == [3, 7]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert threads.usable_cores() == [0, 1]


def test_a_container_granted_two_of_four_cores_counts_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: [0, 1, 2, 3])
    for granted, counted in ((2, 2), (4, 4), (8, 4)):
        monkeypatch.setattr("joblib.cpu_count", lambda granted=granted: granted)
        assert threads.core_count() == counted
