"""The two files: readable by pytest-benchmark, and refused where anything is missing."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.gate.gate import rejudge
from bench.gate.paired_timing import Pair
from bench.gate.revisions import Revisions
from bench.gate.statistics import FAIL
from bench.gate.storage import Side, read, series_of, write

NAMES = ("train_step", "evaluation")
COUNTS = {name: {"flops": 100} for name in NAMES}
NUMERICS = {"elbo": {"values": {"loss": 1.5}, "parameters_sha256": "a"}}
PAIRS = {
    name: [Pair(0.001 + i * 1e-5, 0.002, {"busy": 0.01 * i, "wall": 0.02 * i}) for i in range(6)]
    for name in NAMES
}
REVISIONS = Revisions("b" * 40, "e" * 40, True)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    sides = (Side(COUNTS, NUMERICS), Side(COUNTS, NUMERICS))
    return write(tmp_path / "some-cpu", sides, PAIRS, REVISIONS, "Some CPU")


def edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_what_was_written_is_read(files: list[Path]) -> None:
    assert [path.name for path in files] == [
        f"0001_base_{'b' * 12}.json",
        f"0002_head_{'e' * 12}.json",
    ]
    found = read(*files)
    assert found.base == found.head == Side(COUNTS, NUMERICS)
    assert found.series == series_of(PAIRS)
    base, head = (json.loads(file.read_text()) for file in files)
    here = {"project": "hvae", "branch": None}
    assert base["commit_info"] == {"id": "b" * 40, "dirty": False, **here}
    assert head["commit_info"] == {"id": "e" * 40, "dirty": True, **here}
    assert head["machine_info"]["device_name"] == "Some CPU"
    assert head["benchmarks"][0]["stats"]["data"] == [0.002] * 6


def test_two_files_of_two_comparisons_are_refused(files: list[Path], tmp_path: Path) -> None:
    sides = (Side(COUNTS, NUMERICS), Side(COUNTS, NUMERICS))
    other = {
        name: [pair._replace(log_ratio={"busy": 1.0, "wall": 1.0}) for pair in pairs]
        for name, pairs in PAIRS.items()
    }
    later = write(tmp_path / "another-cpu", sides, other, REVISIONS, "Another CPU")
    with pytest.raises(ValueError, match=r"0001_base_b+\.json: not of one comparison with .*0002_"):
        read(files[0], later[1])


def test_another_run_replaces_both(files: list[Path], tmp_path: Path) -> None:
    sides = (Side(COUNTS, NUMERICS), Side(COUNTS, NUMERICS))
    later = write(files[0].parent, sides, PAIRS, Revisions("c" * 40, "d" * 40, False), "Some CPU")
    assert sorted(files[0].parent.iterdir()) == later


def test_pytest_benchmark_compares_them(files: list[Path]) -> None:
    tool = Path(sys.executable).with_name("pytest-benchmark")
    storage = f"--storage=file://{files[0].parent.parent}"
    command = [str(tool), storage, "compare", "0001", "0002", "--columns=median,rounds"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in NAMES:
        for number in ("0001_base", "0002_head"):
            assert any(name in line and number in line for line in done.stdout.splitlines())


def test_a_truncated_file_is_one_line(files: list[Path]) -> None:
    text = files[1].read_text()
    for length in (0, 1, len(text) // 2, len(text) - 3):
        files[1].write_text(text[:length])
        with pytest.raises(ValueError, match=r"0002_head_.*damaged, not a whole JSON document"):
            read(*files)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("benchmarks"),
        lambda d: d.pop("numerics"),
        lambda d: d["benchmarks"][0].pop("name"),
        lambda d: d["benchmarks"][0]["extra_info"].pop("counts"),
        lambda d: d["benchmarks"][0]["extra_info"].update(counts=None),
        lambda d: d["benchmarks"][0]["extra_info"]["log_ratios"].pop("wall"),
        lambda d: d["benchmarks"][0]["extra_info"]["log_ratios"].update(wall=[None] * 6),
        lambda d: d["benchmarks"][0]["extra_info"]["log_ratios"].update(wall=[math.nan] * 6),
    ],
)
def test_a_file_that_lacks_something_is_named(files: list[Path], change: Any) -> None:
    edit(files[1], change)
    with pytest.raises(ValueError, match=r"0002_head_.*: not a whole file of the gate: ") as caught:
        read(*files)
    assert "\n" not in str(caught.value)


def test_a_file_without_benchmarks_or_ratios_does_not_pass(files: list[Path]) -> None:
    for file in files:
        edit(file, lambda d: d["benchmarks"][0]["extra_info"]["log_ratios"].update(wall=[]))
    with pytest.raises(ValueError, match="0 pairs on the wall clock; allowed: 6 or more"):
        rejudge(*files)
    for file in files:
        edit(file, lambda d: d.update(benchmarks=[]))
    assert rejudge(*files).status == FAIL
