"""Spawned one-thread processes that do the same thing at the same time. Imports no torch, so that
a process has set its threads before torch is there."""

import contextlib
import gc
import math
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from hvae.processes import keep_freed_memory, one_thread

GRACE_SECONDS = 5.0  # an idle process leaves by itself within a second


class ProcessDied(RuntimeError):
    """A process of a crew ended; its own traceback is on stderr."""


class Window(NamedTuple):
    """Wall seconds of a call, from the start of all processes to the end of the last, and the
    seconds of processor that all of them got."""

    seconds: float
    cpu_seconds: float


class Crew:
    """A process per entry of `cores` (a core to stay on, or None), each with what `build` made.

    `build(*arguments)` runs in every process and returns what `call` then calls.
    """

    def __init__(
        self,
        cores: Sequence[int | None],
        keeps_memory: bool,
        build: Callable[..., Callable[[int], Any]],
        *arguments: Any,
    ) -> None:
        context = multiprocessing.get_context("spawn")  # fork and threads do not mix
        self.pipes: list[Connection] = []
        self.processes = []
        for core in cores:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, core, keeps_memory), daemon=True)
            process.start()
            theirs.close()  # the process's is the only copy, so its death is the end of the pipe
            self.pipes.append(ours)
            self.processes.append(process)
        self._send((build, arguments))

    def wait(self) -> float:
        """Until all have built or called: the processor seconds of it. Raises `ProcessDied`."""
        try:
            cpu_seconds = math.fsum(pipe.recv() for pipe in self.pipes)
        except (EOFError, OSError) as error:
            raise ProcessDied("a process of the ladder died; see above for why") from error
        self.is_busy = False
        return cpu_seconds

    def call(self, count: int) -> Window:
        """Let all call what they built with `count` at once. Raises `ProcessDied`."""
        started = time.perf_counter()
        self._send(count)
        cpu_seconds = self.wait()
        return Window(time.perf_counter() - started, cpu_seconds)

    def release(self) -> None:
        """Let the idle leave by themselves and stop the busy, without waiting for either."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.close()
            if self.is_busy:
                process.terminate()

    def dismiss(self) -> None:
        """No process is left when this returns."""
        self.release()
        for process in self.processes:
            process.join(GRACE_SECONDS)
            process.kill()
            process.join()

    def _send(self, message: Any) -> None:
        self.is_busy = True
        packed = pickle.dumps(message)
        for pipe in self.pipes:
            with contextlib.suppress(OSError):  # a dead process is found out by `wait`
                pipe.send_bytes(packed)


def _serve(pipe: Connection, core: int | None, keeps_memory: bool) -> None:
    """A process's life: build, then call what was built whenever told, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if core is not None:
        os.sched_setaffinity(0, {core})
    one_thread()
    if keeps_memory:
        keep_freed_memory()
    with contextlib.suppress(EOFError, BrokenPipeError):
        build, arguments = pickle.loads(pipe.recv_bytes())  # imports torch: hence only here
        call = build(*arguments)
        pipe.send(time.process_time())
        while True:
            count = pickle.loads(pipe.recv_bytes())
            started = time.process_time()
            call(count)
            pipe.send(time.process_time() - started)
    gc.freeze()  # else the interpreter looks through all of torch for garbage before it leaves
