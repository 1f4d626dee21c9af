import pytest

from bench.ladder import loops
from bench.ladder.rungs import Gauge


@pytest.mark.parametrize("kind", ["sgemm", "copy"])
def test_a_gauge_repeats_as_often_as_it_is_asked(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(loops, f"_{kind}", lambda device: lambda: calls.append(device))
    call = loops.gauge_loop(Gauge(kind, 3, "cpu"))
    assert calls == ["cpu"]  # warmed up
    call(10)
    assert calls == ["cpu"] * 11
