"""`hvae bench`, with the measuring replaced: what it asks for, writes, prints and refuses."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ablations.cli import bench as benching
from ablations.cli.main import main
from bench.ladder.ladder import Ladder, Window
from bench.ladder.rungs import GAUGES, Gauge, Rung, Source
from hvae.processes import WorkerFailed


class StandIn:
    """A ladder on which every window takes a second."""

    def __init__(self) -> None:
        self.rungs: list[Rung] = []
        self.rounds = 0

    def __call__(self, rungs: Sequence[Rung], source: Source, rounds: int, progress: Any) -> Ladder:
        progress("building")
        self.rungs, self.rounds = list(rungs), rounds
        counts = {rung.processes for rung in rungs}
        gauges = [Gauge(kind, 1, "cpu", count) for count in counts for kind in GAUGES["cpu"]]
        windows = {task: [Window(1.0, 1.0)] * rounds for task in (*rungs, *gauges)}
        return Ladder(source, rounds, windows, [])


@pytest.fixture
def measurer(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr("bench.ladder.ladder.ladder", stand_in)
    monkeypatch.setattr("hvae.native.build.c_compiler", lambda: ["/usr/bin/cc"])
    monkeypatch.setattr("hvae.data.mnist.require", lambda name, folder: None)
    monkeypatch.setattr(benching, "find_spec", lambda package: None)  # whether or not it is there
    monkeypatch.setattr(benching, "device_name", lambda device: "Some CPU (R) @ 2 GHz")
    return stand_in


def call(folder: Path, *options: str) -> Result:
    kept = () if "--counts" in options else ("--results", str(folder))
    arguments = ("bench", "--device", "cpu", *kept, *options)
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_it_prints_the_table_and_keeps_the_document(tmp_path: Path, measurer: StandIn) -> None:
    result = call(tmp_path / "results")
    path = tmp_path / "results" / "bench" / "ladder-some-cpu-r-2-ghz.json"
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(path)
    document = json.loads(path.read_text())
    titles = [rung.title for rung in measurer.rungs]
    assert [rung["title"] for rung in document["rungs"]] == titles
    assert all(title in result.stdout for title in titles)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half written


def test_json_prints_the_document_it_keeps(tmp_path: Path, measurer: StandIn) -> None:
    result = call(tmp_path, "--json", "--rounds", "3")
    (path,) = (tmp_path / "bench").iterdir()
    assert json.loads(result.stdout) == json.loads(path.read_text())
    assert measurer.rounds == json.loads(result.stdout)["rounds"] == 3


def test_packs_are_those_asked_for_and_all_cores_train_the_grids(
    tmp_path: Path, measurer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.ladder.rungs.core_count", lambda: 2)
    call(tmp_path)
    assert [rung.models for rung in measurer.rungs[3:]] == [5, 10, 20, 5, 10, 20, 10, 10]
    call(tmp_path, "--pack", "7", "--pack", "3", "--pack", "7", "--no-compile")
    assert [rung.models for rung in measurer.rungs[3:]] == [3, 7, 7]
    assert measurer.rungs[-1].processes == 2
    monkeypatch.setattr("bench.ladder.rungs.core_count", lambda: 64)  # 256 processes, 90 GB
    call(tmp_path, "--no-compile")
    assert measurer.rungs[-1].processes == 8


def test_where_jax_is_installed_it_is_a_rung_that_others_are_compared_with(
    tmp_path: Path, measurer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benching, "find_spec", lambda package: package == "jax")
    result = call(tmp_path, "--pack", "10")
    (rung,) = (rung for rung in measurer.rungs if rung.engine == "jax")
    assert (rung.models, rung.processes) == (10, 1)
    (path,) = (tmp_path / "bench").iterdir()
    packed = json.loads(path.read_text())["rungs"][-1]
    assert packed["ratio_to_jax"]["median"] == pytest.approx(2 if packed["processes"] == 2 else 1)
    assert " x JAX " in result.stdout


def test_scaling_is_kept_beside_the_ladder(tmp_path: Path, measurer: StandIn) -> None:
    result = call(tmp_path, "--scaling", "--pack", "3")
    assert result.stdout.splitlines()[-1].endswith("/bench/scaling-some-cpu-r-2-ghz.json")
    document = json.loads((tmp_path / "bench" / "scaling-some-cpu-r-2-ghz.json").read_text())
    assert document["engine"] == "compiled"
    assert [cost["value"] for cost in document["axes"]["depth"]] == [1, 2, 3, 4]
    assert {rung.models for rung in measurer.rungs if rung.depth != 2} == {3}


def test_without_a_compiler_it_says_so_and_goes_on(
    tmp_path: Path, measurer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvae.native.build.c_compiler", lambda: None)
    result = call(tmp_path)
    assert result.exit_code == 0
    assert result.stderr.count("no C compiler") == 1
    assert not any(rung.engine == "compiled" for rung in measurer.rungs)


def test_missing_data_are_one_line_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.ladder.ladder.ladder", lambda *given: pytest.fail("it was measured"))
    result = call(tmp_path / "results", "--data-dir", str(tmp_path / "nowhere"))
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("hvae: error: mnist: ")
    assert "hvae data fetch mnist" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_refused_before_measuring(
    tmp_path: Path, measurer: StandIn
) -> None:
    (tmp_path / "results").touch()
    result = call(tmp_path / "results" / "sub")
    assert (result.exit_code, result.stdout, measurer.rungs) == (2, "", [])
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"hvae: error: results: cannot write under {tmp_path}/results/sub/bench")


@pytest.mark.parametrize("options", [("--rounds", "1"), ("--pack", "0"), ("--data", "digits")])
def test_bad_options_are_one_line(
    tmp_path: Path, measurer: StandIn, options: tuple[str, ...]
) -> None:
    result = call(tmp_path / "results", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_died_is_no_traceback(
    tmp_path: Path, measurer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*given: object) -> None:
        raise WorkerFailed("a worker died")

    monkeypatch.setattr("bench.ladder.ladder.ladder", die)
    result = call(tmp_path)
    assert result.exit_code == 1
    assert "a worker died" in result.stderr
    assert "Traceback" not in result.stderr


def test_counts_are_printed_and_nothing_is_measured_or_written(
    tmp_path: Path, measurer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"train_step": {"flops": 1234, "operators.aten.mul.Tensor": 5}}
    monkeypatch.setattr("bench.gate.side.counts.count_all", lambda device: counts)
    result = call(tmp_path / "results", "--counts")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["train_step"],
        ["flops", "1,234"],
        ["operators.aten.mul.Tensor", "5"],
    ]
    assert json.loads(call(tmp_path / "results", "--counts", "--json").stdout) == counts
    assert (measurer.rungs, list(tmp_path.iterdir())) == ([], [])
    elsewhere = call(tmp_path / "results", "--counts", "--results", "elsewhere")
    assert "--results: has no meaning with --counts" in elsewhere.stderr
    both = call(tmp_path / "results", "--counts", "--scaling")
    assert both.exit_code == 2
    assert "--scaling: has no meaning with --counts; allowed: one of the two" in both.stderr
