"""Worker processes of this machine: how they are started, called and stopped, and how they compute.

`python -m hvae.processes CONNECTION LIFELINE PREPARE [CORE]` is a worker that serves calls. It
imports no user's `__main__`: a notebook and a script without a main guard can start one.
"""

import contextlib
import ctypes
import os
import pickle
import pkgutil
import platform
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Self, TypeVar

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST_INT = 2**31 - 1
LARGEST_KEPT = 2**24  # bytes: a step's temporaries, not the noise of an epoch or of a test block

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # done, total
Function = Callable[[T, Progress], Iterable[R]]  # its results, one by one

PROGRESS, OUTCOME, END = "progress", "outcome", "end"  # what a call is answered with


class WorkerFailed(RuntimeError):
    """A call that has no result."""


class WorkerDied(WorkerFailed):
    """A worker that ended without a word: killed, out of memory, or crashed below Python."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a worker died: {reason}")
        self.reason = reason


@contextlib.contextmanager
def lifeline() -> Iterator[Connection]:
    """What workers live on: they exit when the block is left, and when this process ends, however
    it does. It is a pipe, of whose read end each worker awaits the end."""
    reader, writer = Pipe(duplex=False)
    try:
        yield reader
    finally:
        writer.close()


class Worker:
    """A child process, `python -m module CONNECTION LIFELINE *arguments [CORE]`, and a connection
    to it. File descriptors are written at one length: that of what a process is given moves its
    stack, and with it its speed."""

    def __init__(
        self,
        line: Connection,
        module: str,
        arguments: Sequence[str] = (),
        core: int | None = None,
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        self.connection, theirs = Pipe()
        self.core, self.stderr = core, stderr
        passed = (theirs.fileno(), line.fileno())
        command = [*prefix, sys.executable, "-P", "-m", module, *(f"{fd:06}" for fd in passed)]
        command += [*arguments, *([] if core is None else [str(core)])]
        with _interrupts_held():
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=stderr, pass_fds=passed, cwd=cwd, env=env
            )
        theirs.close()  # the worker's is the only copy, so its death is the end of the connection

    def send(self, message: object) -> None:
        """Hand over a message; that the worker has died is found out by `receive`."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """The worker's next message. Raises `WorkerDied` where there is none to come."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise WorkerDied(self._last_words()) from None

    def call(self, function: Function[T, R], task: T) -> None:
        """Have a worker that serves calls do this; `receive` then brings progress, results, and at
        last the end. Raises `ValueError` for a function that it cannot import."""
        if function.__module__ == "__main__":
            raise ValueError(
                f"function: {function.__qualname__!r} of __main__, which workers do not import; "
                "allowed: one of a module, or the executor 'serial'"
            )
        self.send((function, task))

    def result(self) -> Any:
        """The last result of a call. Raises `WorkerFailed` with what it raised instead."""
        result = None
        while (message := self.receive())[0] != END:
            kind, value = message
            if kind == OUTCOME:
                result, error = value
                if error is not None:
                    raise WorkerFailed(f"{type(error).__name__}: {error}") from error
        return result

    def stop(self) -> None:
        """No process is left when this returns; it has nothing to put in order."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        if self.stderr is not None:
            self.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def _last_words(self) -> str:
        code, lines = self.process.wait(), list[str]()
        if self.stderr is not None:
            self.stderr.seek(0)
            lines = [line.strip() for line in self.stderr if line.strip()]
        if not lines:
            return f"exit code {code}, killed, crashed or out of memory"
        places = [line for line in lines[:-1] if line.startswith('File "')]
        return f"{lines[-1]} ({places[-1].partition(', in ')[0]})" if places else lines[-1]


def start_worker(line: Connection, prepare: Callable[[], None], core: int | None = None) -> Worker:
    """A worker that serves calls, prepared before it unpacks the first: unpacking imports torch.
    What this process can import, it can."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    prepared = f"{prepare.__module__}:{prepare.__qualname__}"
    env = os.environ | {"PYTHONPATH": path}
    return Worker(line, __name__, [prepared], core, env=env)


def own_cores(workers: int) -> list[int | None]:
    """A core for each worker, or none: where the system cannot pin, or with fewer workers than
    cores, since two grids side by side would both be pinned to the same first ones."""
    cores = usable_cores()
    if workers < len(cores) or not hasattr(os, "sched_setaffinity"):
        return [None] * workers
    return [cores[i % len(cores)] for i in range(workers)]


def attempt(
    function: Function[T, R], task: T, progress: Progress
) -> Iterator[tuple[Any, Exception | None]]:
    """The one broad except of the project: results of a task, and last what it raised, if it did.
    Whatever it was, the others go on."""
    try:
        for result in function(task, progress):
            yield result, None
    except Exception as error:
        yield None, error


def settle() -> None:
    """Make this process compute as every worker of a grid does, so that all compute alike."""
    one_thread()
    keep_freed_memory()


def one_thread() -> None:
    """Make torch compute with one thread and flush denormals to zero, in this process.

    Two OpenMP threads collapse when a neighbour takes a core, and Adam's moments of pixels that
    are never lit decay into denormals, which a CPU handles about a hundred times slower.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # read when torch is imported
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def keep_freed_memory() -> bool:
    """Make malloc reuse large blocks instead of mapping them anew; False where it is not glibc's,
    which alone has these settings. A packed step frees and asks for temporaries of some megabytes.
    glibc gives blocks above its threshold (at most 32 MiB, by itself) back to the system, and the
    kernel zeroes every page of the next one: a quarter of the time of an eager pack."""
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
    that is granted two of sixty-four, or in a job of Slurm that asked for two."""
    from joblib import cpu_count  # affinity, control groups and LOKY_MAX_CPU_COUNT

    of_job = os.environ.get("SLURM_CPUS_PER_TASK", "")
    asked = [int(of_job)] if of_job.isdecimal() and int(of_job) else []
    return min([int(cpu_count()), len(usable_cores()), *asked])


def serve(connection: str, lifeline: str, prepare: str, core: str = "") -> None:
    """A worker's life: calls in, progress and results out, until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_exit_with, args=(int(lifeline),), daemon=True).start()
    if core:
        os.sched_setaffinity(0, {int(core)})
    pkgutil.resolve_name(prepare)()
    pipe = Connection(int(connection))

    def report(done: int, total: int) -> None:
        pipe.send((PROGRESS, (done, total)))

    with contextlib.suppress(EOFError, OSError):
        while True:
            for answer in answers(pipe.recv_bytes(), report):
                pipe.send_bytes(answer)


def answers(call: bytes, progress: Progress) -> Iterator[bytes]:
    """What a packed function and its task are answered with, packed: each result, last what the
    call raised, if it did, and the end."""
    for packed, error in attempt(_results, call, progress):
        yield packed if error is None else _error(error, progress)
    yield pickle.dumps((END, None))


def _exit_with(lifeline: int) -> None:
    os.read(lifeline, 1)  # blocks: nobody writes
    os._exit(1)


def _results(call: bytes, progress: Progress) -> Iterator[bytes]:
    """Do what was asked for. Unpacking it may raise like the rest of it."""
    function, task = pickle.loads(call)
    for result in function(task, progress):
        yield from _packed((OUTCOME, (result, None)), progress)


def _packed(message: object, progress: Progress) -> Iterator[bytes]:
    """The message as the parent will unpack it: what would raise there raises here."""
    packed = pickle.dumps(message)
    pickle.loads(packed)
    yield packed


def _error(error: Exception, progress: Progress) -> bytes:
    """What a call raised, with its traceback as a note; as a `RuntimeError` where it would not
    survive the way."""
    note = "In the worker:\n" + "".join(traceback.format_exception(error))
    error.add_note(note)
    ((packed, lost),) = attempt(_packed, (OUTCOME, (None, error)), progress)
    if lost is not None:
        text = RuntimeError(f"{type(error).__name__}: {error}")
        text.add_note(note)
        packed = pickle.dumps((OUTCOME, (None, text)))
    return bytes(packed)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold SIGINT back: a worker inherits the mask, so none dies of Ctrl-C while it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    serve(*sys.argv[1:])
