"""Ladders beside the studies: every whole file is a figure, every other one a line."""

import json
from pathlib import Path
from typing import Any

import pytest
from builders import report_of

from hvae.records.store import Store
from report.data.design import Design
from report.machine.benches import read_benches


def rung(title: str, rate: float) -> dict[str, Any]:
    spread = {"median": rate, "lower_quartile": 0.9 * rate, "upper_quartile": 1.2 * rate}
    rates = ("model_steps_per_second", "ratio_to_documented", "ratio_to_in_memory")
    return {
        "title": title,
        "kind": "pack",
        "fraction_of_cores": 0.9,
        **dict.fromkeys(rates, spread),
    }


def document(device_name: str = "Some CPU") -> dict[str, Any]:
    machine = {"device": "cpu", "device_name": device_name, "cores": 2, "torch": "2.11"}
    rungs = [rung("documented loop", 50.0), rung("packed 10", 1000.0)]
    return {"machine": machine, "data": "mnist", "batch_size": 64, "rounds": 7, "rungs": rungs}


@pytest.fixture
def bench(store: Store) -> Path:
    """The empty folder where `hvae bench` writes, beside the store's."""
    folder = store.folder.parent / "bench"
    folder.mkdir()
    return folder


def test_every_document_is_a_drawing_in_the_order_of_names(bench: Path) -> None:
    for name in ("ladder-b", "ladder-a c"):
        (bench / f"{name}.json").write_text(json.dumps(document(name)))
    found = read_benches(bench)
    assert [d.name for d in found.drawings] == ["bench-ladder-a-c", "bench-ladder-b"]
    titles = [drawing.title for drawing in found.drawings]
    assert titles == ["Throughput ladder, ladder-a c", "Throughput ladder, ladder-b"]
    assert found.notices == ()


def test_what_scaling_wrote_is_a_drawing_too(bench: Path) -> None:
    spread = {"median": 2.0, "lower_quartile": 1.8, "upper_quartile": 2.4}
    cost = {"value": 1, "milliseconds_per_model_step": spread, "flop_per_model_step": 5e7}
    axes = {"depth": [cost, cost | {"value": 2}]}
    text = json.dumps({**document(), "engine": "compiled", "axes": axes})
    (bench / "scaling-a.json").write_text(text)
    (drawing,) = read_benches(bench).drawings
    assert drawing.name == "bench-scaling-a"
    assert "compiled engine" in drawing.caption
    (bench / "scaling-a.json").write_text(text.replace("1.8", "-1.8"))
    found = read_benches(bench)
    assert found.drawings == ()
    assert found.notices[0].endswith(": its costs are not all positive numbers.")


def without_rates() -> dict[str, Any]:
    return {**document(), "rungs": [rung("documented loop", 0.0)]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[]", "list indices must be integers or slices, not str"),
        ("{}", "no 'rungs'"),
        (json.dumps({**document(), "rungs": []}), "its rates are not all positive numbers"),
        (json.dumps(without_rates()), "its rates are not all positive numbers"),
        (json.dumps({**document(), "machine": None}), "'NoneType' object is not subscriptable"),
        (json.dumps({**document(), "rungs": [rung("$\\nonsense$", 1.0)]}), ""),
    ],
)
def test_a_damaged_file_is_one_line_and_the_others_are_drawn(
    bench: Path, content: str, reason: str
) -> None:
    (bench / "ladder-bad.json").write_text(content)
    (bench / "ladder-good.json").write_text(json.dumps(document()))
    found = read_benches(bench)
    (notice,) = found.notices
    assert notice.startswith(f"bench/ladder-bad.json is no whole record of a bench: {reason}")
    assert "\n" not in notice
    assert len(found.drawings) == 1


def test_a_folder_in_place_of_a_file_is_named(bench: Path) -> None:
    (bench / "ladder-x.json").mkdir()
    (notice,) = read_benches(bench).notices
    assert notice == "bench/ladder-x.json is no whole record of a bench: Is a directory."


def test_the_page_shows_the_ladder_and_says_what_is_damaged(store: Store, bench: Path) -> None:
    def page() -> str:
        report_of(store, Design("none", "", ()), "html", "png")
        return (store.folder / "report" / "index.html").read_text()

    assert "Throughput ladder" not in page()
    (bench / "ladder-bad.json").write_text("{")
    assert "Throughput ladder" not in page()
    assert "bench/ladder-bad.json is no whole record of a bench" in page()
    (bench / "ladder-cpu.json").write_text(json.dumps(document()))
    first = page()
    assert ">Throughput by machine</h2>" in first
    assert 'id="figure-bench-ladder-cpu"' in first
    assert 'href="#ladder"' in first
    assert (store.folder / "report" / "figures" / "bench-ladder-cpu.png").stat().st_size
    assert page() == first
