"""Measuring processes: whose sources they run, how they die, and that none is left behind."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bench.gate.side.harness import FILES, MEASURED
from bench.gate.sides import CannotMeasure, Crowd, Measured, Sides, environment, measure_exactly
from hvae.processes import usable_cores

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


def stub(folder: Path, worker: str) -> Path:
    for name in (f"{MEASURED}/__init__.py", *FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "bench/gate/side/worker.py").write_text(worker)
    return folder


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_runs_the_sides_own_sources_and_answers_with_counted_seconds(side: Path) -> None:
    (side / MEASURED / "__init__.py").write_text('__version__ = "of the side"\n')
    (side / "bench/gate/side/workloads.py").write_text(
        "import hvae, types\n"
        "def build(name, device):\n"
        "    print('to stderr', hvae.__version__, name)\n"
        "    return types.SimpleNamespace(call=lambda: sum(range(1000)))\n"
    )
    with Crowd() as crowd:
        worker = crowd.start(side, usable_cores()[0])
        once = worker.ask(do="build", device="cpu", benchmarks=["a", "b"])
        assert once.keys() == {"a", "b"}
        few = worker.ask(do="block", benchmark="a", calls=1)
        many = worker.ask(do="block", benchmark="a", calls=3000)
        assert 0 < few["busy"] < many["busy"]
        assert 0 < few["wall"] < many["wall"]
        if hasattr(os, "sched_getaffinity"):
            assert os.sched_getaffinity(worker.process.pid) == {usable_cores()[0]}
        worker.errors.seek(0)
        assert "to stderr of the side a" in worker.errors.read()


def test_sources_of_another_place_are_refused(side: Path, tmp_path: Path) -> None:
    shutil.rmtree(side / MEASURED)  # so that the installed one is found
    worker = Measured(side)
    worker.send(do="exact", device="cpu")
    with pytest.raises(CannotMeasure, match=r"hvae was imported from .*, not from .*base/hvae"):
        worker.answer()
    worker.stop()


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("import hvae.nothing", "No module named 'hvae.nothing'"),
        ("import sys; sys.stdin.readline(); raise RuntimeError('flops is unstable')", "unstable"),
        ("import os; os._exit(7)", "its process ended with 7"),
        ("import sys; sys.stdout.write('half an ans')", "ended with 0"),
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


def test_when_a_crowd_is_over_nobody_lives_and_nobody_can_join(tmp_path: Path) -> None:
    folder = stub(tmp_path / "base", "import time; time.sleep(60)")
    with suppress(KeyboardInterrupt), Crowd() as crowd:
        pids = [crowd.start(folder).process.pid for _ in range(2)]
        assert all(map(is_running, pids))
        raise KeyboardInterrupt
    assert not any(map(is_running, pids))
    with pytest.raises(CannotMeasure, match="stopped"):
        crowd.start(folder)


def test_dismissed_processes_are_gone(tmp_path: Path) -> None:
    folder = stub(tmp_path / "base", "import time; time.sleep(60)")
    with Crowd() as crowd:
        worker = crowd.start(folder)
        crowd.dismiss([worker])
        assert not is_running(worker.process.pid)
        crowd.dismiss([worker])  # nothing to do


def test_a_process_has_one_thread_fixed_hashes_and_no_random_addresses(tmp_path: Path) -> None:
    given = environment(tmp_path)
    assert {given[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {"1"}
    code = "import json, sys; sys.stdin.readline(); print(json.dumps([hash('a'), id(object)]))"
    folder = stub(tmp_path / "base", code)
    answers = []
    with Crowd() as crowd:
        for _ in range(2):
            answers.append(crowd.start(folder).ask(do="anything"))
    assert answers[0][0] == answers[1][0]
    if (
        sys.platform == "linux"
        and subprocess.run(["setarch", "-R", "true"], check=False).returncode == 0
    ):
        assert answers[0] == answers[1]
