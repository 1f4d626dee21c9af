"""The process that measures one side: `python -m bench.gate.side.worker CONNECTION LIFELINE [CORE]`
in the side's folder, so that `hvae` is that side's. It answers each order that it receives, imports
torch only once it has set its threads, and exits when its lifeline ends: hvae/processes.py says
how it is started, but a side's may be older than that.

    {"do": "exact", "device": "cpu"}                       counts and numerics
    {"do": "build", "device": "cpu", "benchmarks": [...]}  warm up; seconds of a second call
    {"do": "block", "device": "cpu", "benchmark": "train_step", "calls": 9}
                                                           seconds of so many calls, on two clocks
"""

import gc
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hvae
from bench.gate.side.harness import MEASURED
from bench.throughput.clock import Call, timed

try:
    from hvae.processes import keep_freed_memory, one_thread
except ModuleNotFoundError:  # a base with flat folders
    from hvae.threads import keep_freed_memory, one_thread  # type: ignore


def main() -> None:
    """Answer orders until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    connection, lifeline, *core = map(int, sys.argv[1:])
    threading.Thread(target=exit_with, args=(lifeline,), daemon=True).start()
    require_own_sources(Path.cwd())
    if core and hasattr(os, "sched_setaffinity"):  # macOS has none
        os.sched_setaffinity(0, core)
    os.dup2(2, 1)  # whatever is printed goes to stderr
    one_thread()
    keep_freed_memory()  # as the engine's workers do
    calls: dict[str, Call] = {}
    orders = Connection(connection)
    while True:  # until it is stopped
        order = orders.recv()
        orders.send(answer(order, calls))


def exit_with(lifeline: int) -> None:
    """Leave when nobody holds the other end any more."""
    os.read(lifeline, 1)
    os._exit(1)


def answer(order: dict[str, Any], calls: dict[str, Call]) -> dict[str, Any]:
    """What an order asks for; what it builds is added to `calls`."""
    device = order["device"]
    if order["do"] == "exact":
        return exact(device)
    if order["do"] == "build":
        built = build_calls(order["benchmarks"], device)
        calls |= built
        return {name: timed(call, 1, device).busy for name, call in built.items()}
    return timed(calls[order["benchmark"]], order["calls"], device)._asdict()


def require_own_sources(side: Path) -> None:
    """Leave unless `hvae` is the side's: an installed one would be compared with itself."""
    found = Path(hvae.__file__).resolve().parent
    if found != (side / MEASURED).resolve():
        sys.exit(f"hvae was imported from {found}, not from {side / MEASURED}")


def exact(device: str) -> dict[str, Any]:
    """Counts of every benchmark, numbers of every training."""
    from bench.gate.side.counts import count_all
    from bench.gate.side.numerics import follow_all

    return {"counts": count_all(device), "numerics": follow_all()}


def build_calls(benchmarks: list[str], device: str) -> dict[str, Call]:
    """What to call for each benchmark, called once; no garbage collection from here on."""
    from bench.gate.side import workloads

    calls = {name: workloads.build(name, device).call for name in benchmarks}
    for call in calls.values():
        call()
    gc.collect()
    gc.freeze()
    gc.disable()
    return calls


if __name__ == "__main__":
    main()
