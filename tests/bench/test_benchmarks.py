"""`pytest bench`: ordinary pytest-benchmark tests that note what a time is to be compared with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HURRIED = ("--benchmark-min-rounds=1", "--benchmark-max-time=0.001", "--benchmark-warmup=off")
NOTED = {"task", "batch_size", "flops", "bytes"}
RATES = {"images_per_second", "fraction_of_peak", "fraction_of_copy_bandwidth"}


def pytest_bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "bench", "-q", "-p", "no:cacheprovider", *arguments]
    # pytest-benchmark does not time where it takes itself for one of several processes.
    env = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `pytest bench --benchmark-json` says of one depth on the CPU."""
    path = tmp_path_factory.mktemp("bench") / "out.json"
    chosen = "cpu and depth_1 and own_batch"
    pytest_bench("-k", chosen, *HURRIED, f"--benchmark-json={path}")
    found: list[dict[str, Any]] = json.loads(path.read_text())["benchmarks"]
    return found


def test_every_task_is_a_benchmark_of_its_depth(benchmarks: list[dict[str, Any]]) -> None:
    tasks = {benchmark["extra_info"]["task"] for benchmark in benchmarks}
    assert tasks == {"train_step", "inference", "sampling"}
    assert {benchmark["group"] for benchmark in benchmarks} == {"depth 1, cpu"}


def test_a_benchmark_notes_its_work_and_its_share_of_the_machine(
    benchmarks: list[dict[str, Any]],
) -> None:
    for benchmark in benchmarks:
        info, median = benchmark["extra_info"], benchmark["stats"]["median"]
        assert info.keys() == NOTED | RATES
        assert info["images_per_second"] == pytest.approx(64 / median)
        assert all(info[name] > 0 for name in ("flops", "bytes", *RATES))


def test_there_is_one_for_every_task_depth_device_and_batch_size() -> None:
    assert pytest_bench("--collect-only").count("::test_") == 3 * 4 * 2 * 2
