"""`pytest bench`: ordinary pytest-benchmark tests that note what a time is to be compared with."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import test_throughput
from bench.ladder.documented_loop import REFERENCE
from bench.throughput.tasks import EPOCH_IMAGES, flops_per_image

ROOT = Path(__file__).parents[2]
HURRIED = ("--benchmark-min-rounds=1", "--benchmark-max-time=0.001", "--benchmark-warmup=off")
NOTED = {"task", "engine", "batch_size", "flops", "bytes"}
RATES = {"images_per_second", "fraction_of_peak", "fraction_of_copy_bandwidth"}


class Benchmarks(NamedTuple):
    """What `pytest bench` collects, and what pytest-benchmark says of those that it times."""

    collected: list[str]
    timed: list[dict[str, Any]]


class Collected:
    """The names of all tests, before any is deselected."""

    names: list[str]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.names = [item.name for item in items]


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Benchmarks:
    """`pytest bench` with one depth on the CPU, hurried, in this process."""
    path, collected = tmp_path_factory.mktemp("bench") / "out.json", Collected()
    command = [str(ROOT / "bench"), "-q", "-p", "no:cacheprovider", f"--benchmark-json={path}"]
    chosen = ("-k", "cpu and depth_1 and own_batch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(test_throughput, "GAUGE_CALLS", 1)
        # pytest-benchmark does not time where it takes itself for one of several processes.
        for name in [name for name in os.environ if "XDIST" in name]:
            patch.delenv(name)
        assert pytest.main([*command, *chosen, *HURRIED], plugins=[collected]) == 0
    return Benchmarks(collected.names, json.loads(path.read_text())["benchmarks"])


def test_every_task_is_a_benchmark_of_its_depth(benchmarks: Benchmarks) -> None:
    infos = [benchmark["extra_info"] for benchmark in benchmarks.timed]
    engine, *by_module = [(info["task"], info["engine"]) for info in infos]
    assert engine in (("train_step", "compiled"), ("train_step", "traced"))
    names = ("train_step", "inference", "sampling")
    assert by_module == [(name, "module") for name in names]
    assert {benchmark["group"] for benchmark in benchmarks.timed} == {"depth 1, cpu"}


def test_a_benchmark_notes_its_work_and_its_share_of_the_machine(
    benchmarks: Benchmarks,
) -> None:
    peaks = {kind: test_throughput._rate(kind, "cpu") for kind in ("sgemm", "copy")}
    run = replace(REFERENCE, model=replace(REFERENCE.model, num_layers=1))
    for benchmark in benchmarks.timed:
        info, median = benchmark["extra_info"], benchmark["stats"]["median"]
        assert info.keys() == NOTED | RATES
        images = 64 if info["engine"] == "module" else EPOCH_IMAGES["cpu"]
        assert info["images_per_second"] == pytest.approx(images / median)
        assert info["flops"] == images * flops_per_image(info["task"], run)
        assert info["bytes"] > 0
        flops_per_second = info["fraction_of_peak"] * peaks["sgemm"]
        assert flops_per_second == pytest.approx(info["flops"] / median)
        bytes_per_second = info["fraction_of_copy_bandwidth"] * peaks["copy"]
        assert bytes_per_second == pytest.approx(info["bytes"] / median)


def test_there_is_one_for_every_task_depth_device_and_batch_size(benchmarks: Benchmarks) -> None:
    assert len(set(benchmarks.collected)) == len(benchmarks.collected) == 4 * 4 * 2 * 2
