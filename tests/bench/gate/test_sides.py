"""Measuring workers: whose sources they run, how they die, and that none is left behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import worker_functions as work

from bench.gate.side.harness import FILES, MEASURED
from bench.gate.sides import CannotMeasure, Sides, SideWorker, environment, measure_exactly
from hvae.processes import lifeline, usable_cores

ROOT = Path(__file__).parents[3]


@pytest.fixture
def side(tmp_path: Path) -> Path:
    """The real harness over the real sources."""
    folder = tmp_path / "base"
    shutil.copytree(ROOT / MEASURED, folder / MEASURED)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


ORDERS = """
import sys
from multiprocessing.connection import Connection
orders = Connection(int(sys.argv[1]))
"""
HOLDING = """
import fcntl, time
def build(name, device):
    with open("held", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        time.sleep(600)
"""
GATE = """
import random, signal, sys
from pathlib import Path
from bench.gate.paired_timing import time_pairs
from bench.gate.sides import Sides
signal.signal(signal.SIGINT, signal.default_int_handler)
time_pairs(Sides(Path(sys.argv[1]), Path(sys.argv[2])), ["a"], 2, "cpu", random.Random(0))
"""


def stub(folder: Path, worker: str) -> Path:
    for name in (f"{MEASURED}/__init__.py", *FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "bench/gate/side/worker.py").write_text(worker)
    return folder


def test_a_worker_runs_the_sides_own_sources_and_answers_with_counted_seconds(side: Path) -> None:
    (side / MEASURED / "__init__.py").write_text('__version__ = "of the side"\n')
    (side / "bench/gate/side/workloads.py").write_text(
        "import hvae, types\n"
        "def build(name, device):\n"
        "    print('to stderr', hvae.__version__, name)\n"
        "    return types.SimpleNamespace(call=lambda: sum(range(1000)))\n"
    )
    with lifeline() as line, SideWorker(line, side, usable_cores()[0]) as worker:
        once = worker.ask({"do": "build", "device": "cpu", "benchmarks": ["a", "b"]})
        assert once.keys() == {"a", "b"}
        block = {"do": "block", "device": "cpu", "benchmark": "a"}
        few, many = (worker.ask(block | {"calls": calls}) for calls in (1, 3000))
        assert 0 < few["busy"] < many["busy"]
        assert 0 < few["wall"] < many["wall"]
        if hasattr(os, "sched_getaffinity"):
            assert os.sched_getaffinity(worker.process.pid) == {usable_cores()[0]}
        assert worker.stderr is not None
        worker.stderr.seek(0)
        assert "to stderr of the side a" in worker.stderr.read()


def test_sources_of_another_place_are_refused(side: Path) -> None:
    shutil.rmtree(side / MEASURED)  # so that the installed one is found
    where = r"hvae was imported from .*, not from .*base/hvae"
    with (
        lifeline() as line,
        SideWorker(line, side) as worker,
        pytest.raises(CannotMeasure, match=where),
    ):
        worker.ask({"do": "exact", "device": "cpu"})


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ("def broken(:", 'SyntaxError: invalid syntax (File "bench/gate/side/worker.py", line 1)'),
        ("import hvae.nothing", "No module named 'hvae.nothing'"),
        (f"{ORDERS}orders.recv(); raise RuntimeError('flops is unstable')", "unstable"),
        ("import os; os._exit(7)", "exit code 7"),
        (f"{ORDERS}import os; os.write(orders.fileno(), b'half an ans')", "exit code 0"),
    ],
)
def test_why_a_side_cannot_be_measured_is_one_line(
    tmp_path: Path, worker: str, reason: str
) -> None:
    sides = Sides(stub(tmp_path / "base", worker), stub(tmp_path / "head", worker))
    with pytest.raises(CannotMeasure) as caught:
        measure_exactly(sides, "cpu")
    assert str(caught.value).startswith("base cannot be measured: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_worker_outlives_the_gate(side: Path) -> None:
    """Busy ones of older sources, though SIGKILL strikes the gate alone; signals that it hears are
    tested in test_gate.py of the command line."""
    (side / MEASURED / "processes.py").write_text(
        "def one_thread(): pass\ndef keep_freed_memory(): pass\n"
    )
    (side / "bench/gate/side/workloads.py").write_text(HOLDING)
    head, log = side.with_name("head"), side.with_name("log")
    shutil.copytree(side, head)
    with log.open("w") as file:
        command = [sys.executable, "-c", GATE, str(side), str(head)]
        gate = subprocess.Popen(command, stderr=file, start_new_session=True)
    held = [folder / "held" for folder in (side, head)]
    assert work.eventually(lambda: all(map(work.is_held, held)) or gate.poll() is not None)
    assert gate.poll() is None, log.read_text()
    gate.kill()
    gate.wait(work.LONG_SECONDS)
    assert work.eventually(lambda: not any(map(work.is_held, held)))


def test_a_process_has_one_thread_fixed_hashes_and_no_random_addresses(tmp_path: Path) -> None:
    given = environment(tmp_path)
    assert {given[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {"1"}
    folder = stub(tmp_path / "base", f"{ORDERS}orders.send([hash('a'), id(object), sys.argv[1:]])")
    answers = []
    for _ in range(2):
        with lifeline() as line, SideWorker(line, folder, 0) as worker:
            answers.append(worker.receive())
    # What it is given has one length, whatever else is open: it lies on the stack.
    assert [len(argument) for argument in answers[0].pop()] == [6, 6, 1]
    assert answers[1].pop()[-1] == "0"
    assert answers[0][0] == answers[1][0]
    if (
        sys.platform == "linux"
        and subprocess.run(["setarch", "-R", "true"], check=False).returncode == 0
    ):
        assert answers[0] == answers[1]
