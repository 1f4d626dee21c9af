"""Which points the scaling has, and what they cost."""

from pathlib import Path

import pytest

from bench.ladder import scaling
from bench.ladder.ladder import Ladder, Window
from bench.ladder.rungs import BATCH, Gauge, Source
from bench.ladder.scaling import document, points, table

SOURCE = Source("mnist", Path(), 60_000)


def test_one_setting_is_varied_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "core_count", lambda: 3)
    found = points("cpu", 10, "compiled")
    assert {point.axis for point in found} == {"models", "depth", "latent", "processes"}
    for point in found:
        sizes = {"models": 10, "depth": 2, "latent": 20, "processes": 1}
        assert {name: getattr(point.rung, name) for name in sizes} == {
            **sizes,
            point.axis: point.value,
        }
    assert [point.value for point in found if point.axis == "processes"] == [1, 3]
    assert {p.rung.processes for p in points("cuda", 50, "traced")} == {1}


def test_a_cost_is_wall_time_by_the_steps_of_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "core_count", lambda: 2)
    asked = points("cpu", 10, "compiled")
    windows = {point.rung: [Window(0.6, 0.6), Window(0.6, 0.6)] for point in asked}
    gauges = {
        Gauge(kind, 1, "cpu", count): [Window(1.0, 1.0)] * 2
        for kind in ("sgemm", "copy")
        for count in (1, 2)
    }
    found = document(Ladder(SOURCE, 2, {**windows, **gauges}, []), asked)
    with pytest.raises(ValueError, match=r"^scaling: the compiled engine cannot be bui"):
        document(Ladder(SOURCE, 2, {**windows, **gauges}, [asked[0].rung.title]), asked)
    costs = {axis: {c["value"]: c for c in of} for axis, of in found["axes"].items()}
    one = costs["depth"][2]["milliseconds_per_model_step"]["median"]
    assert one == pytest.approx(1000 * 0.6 / 300)  # 30 steps of ten models
    assert costs["processes"][2]["milliseconds_per_model_step"]["median"] == pytest.approx(one / 2)
    flop = [costs["depth"][depth]["flop_per_model_step"] for depth in (1, 2, 3, 4)]
    assert flop == sorted(flop)
    assert flop[1] == pytest.approx(56.3e6 * BATCH / 64, rel=0.01)
    rates = [float(line.split()[-1]) for line in table(found) if line.startswith("depth")]
    assert rates == [round(each / (one / 1000) / 1e9) for each in flop]  # GFLOP/s
