"""Pairs of workers whose seconds are given."""

import math
import random
import threading
from typing import Any

import pytest
import worker_functions as work

from bench.gate import paired_timing as pairs
from bench.gate.paired_timing import BLOCKS, Pair, time_pairs
from bench.gate.revisions import laid_out
from bench.gate.sides import CannotMeasure, SideWorker


def test_a_pair_is_the_ratio_of_its_sides_and_seconds_are_of_a_call(scratch: Any) -> None:
    base = scratch.commit(SECONDS={"train_step": 0.002, "evaluation": 0.5})
    scratch.commit(SECONDS={"train_step": 0.003, "evaluation": 0.25})
    with laid_out(scratch.root, base) as layout:
        found = time_pairs(layout.sides, ["train_step", "evaluation"], 3, "cpu", random.Random(0))
    assert list(found) == ["train_step", "evaluation"]
    assert [len(values) for values in found.values()] == [3, 3]
    for pair in found["train_step"]:
        assert pair.log_ratio == pytest.approx({"busy": math.log(1.5), "wall": math.log(1.5)})
        assert (pair.base_seconds, pair.head_seconds) == pytest.approx((0.002, 0.003))
    assert found["evaluation"][0].log_ratio["busy"] == pytest.approx(-math.log(2))


def test_the_median_over_blocks_ignores_a_disturbed_one(
    scratch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "BLOCKS", 5)
    worker = (scratch.root / "bench/gate/side/worker.py").read_text()
    disturbed = worker.replace("seconds = ", "seconds = blocks(stub) * ")
    blocks = (
        "def blocks(stub):\n"
        "    stub.N = getattr(stub, 'N', 0) + 1\n"
        "    return 50 if stub.N == 2 else 1\n"
    )
    scratch.write("bench/gate/side/worker.py", blocks + disturbed)
    scratch.commit()
    with laid_out(scratch.root, None) as layout:
        (pair,) = time_pairs(layout.sides, ["train_step"], 1, "cpu", random.Random(0))["train_step"]
    assert pair.log_ratio["busy"] == 0.0


def test_who_comes_first_is_drawn_by_lot_alike_for_both(
    scratch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = SideWorker.receive

    def note(self: SideWorker) -> object:
        asked.append(self.folder.name)
        return real(self)

    monkeypatch.setattr(SideWorker, "receive", note)
    monkeypatch.setattr(pairs, "LANES", 1)
    with laid_out(scratch.root, None) as layout:
        time_pairs(layout.sides, ["train_step"], 8, "cpu", random.Random(0))
    assert len(asked) == 8 * 2 * (BLOCKS + 1)
    assert asked.count("base") == asked.count("head")
    first = asked[::2]
    assert 0.35 < first.count("base") / len(first) < 0.65


def test_a_busy_core_takes_fewer_pairs(scratch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five of six pairs are timed while the first core is at its first."""
    five, on_second = threading.Event(), []

    def time_pair(line: Any, sides: Any, names: Any, core: int, *rest: Any) -> dict[str, Pair]:
        if core == 0:
            assert five.wait(work.LONG_SECONDS)
        else:
            on_second.append(core)
            if len(on_second) == 5:
                five.set()
        return {"train_step": Pair(1.0, 1.0, {})}

    monkeypatch.setattr(pairs, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(pairs, "_time_pair", time_pair)
    with laid_out(scratch.root, None) as layout:
        found = time_pairs(layout.sides, ["train_step"], 6, "cpu", random.Random(0))
    assert len(found["train_step"]) == 6


def test_a_side_that_dies_on_the_way_ends_the_measurement(scratch: Any) -> None:
    base = scratch.commit()
    scratch.commit(SECONDS={})  # the block finds no seconds
    with (
        laid_out(scratch.root, base) as layout,
        pytest.raises(CannotMeasure, match=r"^head .*KeyErr"),
    ):
        time_pairs(layout.sides, ["train_step"], 6, "cpu", random.Random(0))
