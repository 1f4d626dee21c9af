"""Processes that work at the same time. What they build comes from the standard library: they
import it without this module."""

import functools
import os
import time

import pytest

from bench.ladder.crews import Crew, ProcessDied


def test_all_processes_work_at_once_and_none_is_left() -> None:
    crew = Crew([None, None], True, functools.partial, time.sleep)
    try:
        crew.wait()
        window = crew.call(1)
    finally:
        crew.dismiss()
    assert 1.0 <= window.seconds < 1.9  # one after the other would take two
    assert window.cpu_seconds < 0.5  # asleep
    assert not any(process.is_alive() for process in crew.processes)


def test_a_process_that_dies_is_an_error_and_none_is_left() -> None:
    crew = Crew([None], False, functools.partial, os._exit)
    try:
        crew.wait()
        with pytest.raises(ProcessDied):
            crew.call(1)
    finally:
        crew.dismiss()
    assert not any(process.is_alive() for process in crew.processes)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that can pin")
def test_a_busy_process_is_stopped() -> None:
    crew = Crew([min(os.sched_getaffinity(0))], False, functools.partial, time.sleep)
    started = time.perf_counter()
    crew.wait()
    crew._send(60)
    crew.dismiss()
    assert time.perf_counter() - started < 30
    assert not any(process.is_alive() for process in crew.processes)
