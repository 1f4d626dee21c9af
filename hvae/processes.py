"""How a worker process of this machine computes: one thread, no denormals, memory kept."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST_INT = 2**31 - 1
LARGEST_KEPT = 2**24  # bytes: a step's temporaries, not the noise of an epoch or of a test block


def one_thread() -> None:
    """Make torch compute with one thread and flush denormals to zero, in this process.

    Two OpenMP threads collapse when a neighbour takes a core, and Adam's moments of pixels that
    are never lit decay into denormals, which a CPU handles about a hundred times slower.
    """
    # Read when torch is imported.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def keep_freed_memory() -> bool:
    """Make malloc reuse large blocks instead of mapping them anew; False where it cannot be told.

    A packed step frees and asks for temporaries of some megabytes. glibc gives blocks above its
    threshold (at most 32 MiB, by itself) back to the system, and the kernel zeroes every page of
    the next one: a quarter of the time of an eager pack. Only glibc has these two settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    is_reused: bool = mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) == 1
    is_untrimmed: bool = mallopt(M_TRIM_THRESHOLD, LARGEST_INT) == 1
    return is_reused and is_untrimmed


def give_back_freed_memory() -> None:
    """Hand what `keep_freed_memory` kept back to the system, where glibc can: between two kinds of
    work, whose blocks would otherwise lie beside each other."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def usable_cores() -> list[int]:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def core_count() -> int:
    """How many cores' worth of time this process may use: fewer than `usable_cores` in a container
    that is granted two of sixty-four."""
    from joblib import cpu_count  # affinity, control groups and LOKY_MAX_CPU_COUNT

    return min(int(cpu_count()), len(usable_cores()))
