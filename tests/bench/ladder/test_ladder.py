"""The ladder's arithmetic on windows made up here, and one tiny ladder really measured."""

import json
import pickle
import re
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.ladder import rungs as lists
from bench.ladder.ladder import Ladder, Window, call, ladder
from bench.ladder.loops import Order
from bench.ladder.output import document, table
from bench.ladder.rungs import CPU_STEPS, GAUGES, Gauge, Rung, Source, cpu_rungs, cuda_rungs
from hvae.processes import Worker, WorkerFailed, answers, start_worker

SOURCE = Source("mnist", Path(), 60_000)
FIRST = Rung("documented", "documented loop", "documented", 10, "cpu")
SECOND = Rung("in_memory", "in memory, eager", "in_memory", 40, "cpu")
PACKED = Rung("packed", "packed 5 on each of 2 cores", "pack", 20, "cpu", 5, 2, "traced")
GFLOP_PER_STEP = 0.056_166_4  # 64 images of 877,600 FLOP: 22.1 + 22.1 + 12.1 MFLOP


def even(value: float) -> dict[str, float]:
    return {"median": value, "lower_quartile": value, "upper_quartile": value}


def gauges(processes: int) -> dict[Gauge, list[Window]]:
    """50 GFLOP/s of sgemm and 10 GB/s of copies in each process."""
    rates = {"sgemm": 50e9, "copy": 10e9}
    found = [Gauge(kind, 10, "cpu", processes) for kind in rates]
    return {g: [Window(g.work / rates[g.kind] / processes, 1.0)] * 3 for g in found}


def ladder_of(windows: dict[Any, list[Window]]) -> Ladder:
    return Ladder(SOURCE, 3, {**windows, **gauges(1), **gauges(2)}, ["packed 5, compiled"])


@pytest.fixture
def made_up() -> dict[str, Any]:
    """Three rungs over three rounds; everything took twice as long in the second."""
    seconds = {FIRST: 1.0, SECOND: 1.0, PACKED: 0.5}
    return document(
        ladder_of(
            {
                rung: [Window(own * slow, 0.75 * own * slow * rung.processes) for slow in (1, 2, 1)]
                for rung, own in seconds.items()
            }
        )
    )


@pytest.fixture
def measured(made_up: dict[str, Any]) -> list[dict[str, Any]]:
    rungs: list[dict[str, Any]] = made_up["rungs"]
    return rungs


def test_rates_count_every_model_and_every_process(measured: list[dict[str, Any]]) -> None:
    medians = [found["model_steps_per_second"]["median"] for found in measured]
    assert medians == [10.0, 40.0, 2 * 5 * 20 / 0.5]
    assert [found["images_per_second"]["median"] for found in measured] == [m * 64 for m in medians]


def test_a_short_last_batch_counts_as_a_step_of_its_own_images() -> None:
    whole = replace(SECOND, steps=938)
    found = document(ladder_of(dict.fromkeys((FIRST, whole), [Window(1.0, 1.0)] * 2)))["rungs"][1]
    assert found["model_steps_per_second"]["median"] == 938
    assert found["images_per_second"]["median"] == pytest.approx(60_000)


def test_ratios_are_taken_within_a_round(measured: list[dict[str, Any]]) -> None:
    ratios = [found["ratio_to_documented"] for found in measured]
    assert ratios == [even(1.0), even(4.0), even(40.0)]
    assert measured[2]["ratio_to_in_memory"] == even(10.0)  # though the rates differ twofold
    assert measured[2]["model_steps_per_second"]["lower_quartile"] == 300.0


def test_fractions_are_of_as_many_processes(measured: list[dict[str, Any]]) -> None:
    found = measured[2]
    assert found["fraction_of_sgemm"] == pytest.approx(400 * GFLOP_PER_STEP / 100, rel=0.01)
    assert found["fraction_of_copy_bandwidth"] == pytest.approx(400 * 10e6 / 20e9)
    assert found["fraction_of_cores"] == pytest.approx(0.75)
    assert measured[0]["fraction_of_sgemm"] == pytest.approx(10 * GFLOP_PER_STEP / 50, rel=0.01)


def test_the_machines_rates_are_told_by_the_number_of_processes(made_up: dict[str, Any]) -> None:
    first, second = made_up["machine"]["rates"]
    assert (first["processes"], second["processes"]) == (1, 2)
    assert second["sgemm_gflop_per_second"] == pytest.approx(even(100.0))
    assert second["copy_gigabytes_per_second"] == pytest.approx(even(20.0))


def test_gauges_count_flop_and_bytes_of_all_processes() -> None:
    assert Gauge("sgemm", 10, "cpu", 2).work == 2 * 10 * 2 * 1024**3
    assert Gauge("copy", 5, "cpu", 3).work == 3 * 5 * 2 * 64 * 2**20  # read and written


def test_the_table_says_what_the_document_says(made_up: dict[str, Any]) -> None:
    lines = table(made_up)
    for line, rung in zip(lines[1:], made_up["rungs"], strict=False):
        assert line.startswith(rung["title"])
        numbers = [float(n.replace(",", "")) for n in re.findall(r"[\d,.]+", line[30:])]
        steps = rung["model_steps_per_second"]
        expected = [
            steps["median"],
            steps["lower_quartile"],
            steps["upper_quartile"],
            rung["images_per_second"]["median"],
            rung["ratio_to_documented"]["median"],
            rung["ratio_to_in_memory"]["median"],
            100 * rung["fraction_of_sgemm"],
            100 * rung["fraction_of_copy_bandwidth"],
            100 * rung["fraction_of_cores"],
        ]
        assert numbers == pytest.approx(expected, abs=0.51)  # rounded to whole numbers at worst
    assert any("packed 5, compiled" in line for line in lines if "left out" in line)


def test_the_document_is_json_and_has_every_rung(made_up: dict[str, Any]) -> None:
    again = json.loads(json.dumps(made_up, allow_nan=False))
    assert [rung["name"] for rung in again["rungs"]] == ["documented", "in_memory", "packed"]
    assert all({field.name for field in fields(Rung)} < set(rung) for rung in again["rungs"])
    assert again["machine"]["threads"] == 1
    assert again["rungs"][2]["model_steps_per_second_by_round"] == [400.0, 200.0, 400.0]


def test_the_rungs_of_a_cpu_climb_from_the_documented_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "core_count", lambda: 3)
    names = [rung.name for rung in cpu_rungs((5, 10), 10, ("traced", "compiled"))]
    assert names == [
        "documented",
        "in_memory",
        "fused",
        "packed_5",
        "packed_10",
        "packed_5_compiled",
        "packed_10_compiled",
        "packed_10_all_cores",
        "packed_10_all_cores_compiled",
    ]
    plain = cpu_rungs((5, 10), 10, ["traced"])
    assert [rung.name for rung in plain] == [n for n in names if not n.endswith("compiled")]
    assert plain[-1].processes == 3
    assert all(rung.steps * rung.models == CPU_STEPS["pack"] for rung in plain[3:])


def test_one_core_has_no_rung_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "core_count", lambda: 1)
    assert cpu_rungs((5,), 5, ["traced"])[-1].name == "packed_5"


def test_the_rungs_of_a_gpu_end_with_captured_packs_over_whole_epochs() -> None:
    found = cuda_rungs((50, 200))
    assert [rung.name for rung in found[-2:]] == ["captured_50", "captured_200"]
    assert {rung.device for rung in found} == {"cuda"}
    assert found[-1].images(SOURCE) == 60_000


def test_what_warms_up_is_a_tenth_of_a_window_in_whole_batches() -> None:
    assert replace(FIRST, steps=20).amounts(SOURCE) == (2 * 64, 20 * 64)
    assert replace(FIRST, steps=938).amounts(SOURCE) == (94 * 64, 60_000)
    assert Gauge("sgemm", 10, "cpu").amounts(SOURCE) == (1, 10)


class Here(Worker):
    """A worker that is this process."""

    def __init__(self) -> None:
        self.said: deque[Any] = deque()

    def send(self, message: object) -> None:
        told = answers(pickle.dumps(message), lambda *progress: None)
        self.said.extend(map(pickle.loads, told))

    def receive(self) -> Any:
        return self.said.popleft()

    def stop(self) -> None:
        pass


@pytest.mark.usefixtures("untraced")
def test_a_tiny_ladder_is_measured(
    make_source: Callable[[int], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rung alone in a process of its own, which takes seconds to start."""
    started: list[Worker] = []

    def start(*given: Any) -> Worker:
        started.append(start_worker(*given) if len(started) == 1 else Here())
        return started[-1]

    def counted(workers: list[Worker], order: Order) -> Window:
        return call(workers, order)._replace(seconds=order.amount)

    monkeypatch.setattr("bench.ladder.ladder.start_worker", start)
    monkeypatch.setattr("bench.ladder.ladder.call", counted)
    monkeypatch.setitem(GAUGES, "cpu", dict.fromkeys(GAUGES["cpu"], 2))
    broken = Rung("broken", "broken, compiled", "no such loop", 1, "cpu", engine="compiled")
    single = [replace(rung, steps=2) for rung in (FIRST, SECOND)]
    packed = replace(PACKED, steps=2, models=2, processes=1)
    heard: list[str] = []
    found = ladder([*single, broken, packed], make_source(130), 2, heard.append)
    (reason,) = found.left_out
    assert reason.startswith("broken, compiled: ")
    assert "no such loop" in reason
    kinds = [task.kind for task in found.windows]
    assert kinds == ["documented", "in_memory", "pack", "sgemm", "copy"]
    assert list(found.windows)[:3] == [*single, packed]
    amounts = [[window.seconds for window in windows] for windows in found.windows.values()]
    assert amounts == [[128, 128]] * 3 + [[2, 2]] * 2  # of the windows, not of what warms up
    assert heard == ["building", "round 1 of 2", "round 2 of 2"]


def test_a_rung_that_cannot_be_built_ends_the_ladder(
    make_source: Callable[[int], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GAUGES, "cpu", {})  # no gauge need be built for it
    monkeypatch.setattr("bench.ladder.ladder.start_worker", lambda *given: Here())
    with pytest.raises(WorkerFailed, match="no such loop"):
        ladder([replace(FIRST, kind="no such loop")], make_source(130), 2)


def test_a_window_is_of_all_workers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def clock() -> int:
        heard.append("clock")
        return len(heard)

    class Stub:
        def call(self, function: object, order: Order) -> None:
            heard.append(f"called with {order.amount}")

        def result(self) -> float:
            heard.append("done")
            return 0.5

    monkeypatch.setattr("bench.ladder.ladder.time", SimpleNamespace(perf_counter=clock))
    workers: Any = [Stub(), Stub()]
    window = call(workers, Order(FIRST, SOURCE, 7))
    assert heard == ["clock", "called with 7", "called with 7", "done", "done", "clock"]
    assert window == Window(6 - 1, 1.0)
