"""The gate's own record: a row per kind of trial, machine and load."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from builders import report_of

from hvae.records.store import Store
from report.data.design import Design
from report.machine.benches import read_benches
from report.machine.gate_trials import gate_table, trials_row


def trials(**changes: Any) -> dict[str, Any]:
    return {
        **{"planted_percent": 0.0, "is_under_load": False, "commit": "de3e746" + 33 * "0"},
        **{"machine": {"device_name": "Some CPU"}, "repeats": 40, "false_alarms": 0},
        **{"inconclusive": 2, "bound": 0.0722, "confidence": 0.95},
    } | changes


def row(document: dict[str, Any]) -> list[str]:
    (entries,) = gate_table([trials_row(document)]).rows
    return [entry.text for entry in entries]


@pytest.fixture
def gate(store: Store) -> Path:
    """The empty folder of the gate's trials, beside the store's."""
    folder = store.folder.parent / "bench" / "gate"
    folder.mkdir(parents=True)
    return folder


def test_false_alarms_are_bounded_from_above() -> None:
    assert row(trials()) == [
        *("HEAD against itself", "Some CPU", "nothing else started", "0 false alarms in 40"),
        *("2", "≤ 7.3 % (95 %)", "de3e746000"),
    ]


def test_what_was_planted_is_bounded_from_below() -> None:
    planted = trials(planted_percent=5.0, caught=19, bound=0.784, is_under_load=True)
    assert row(planted)[0] == "5 % planted"
    assert row(planted)[2:4] == ["a core kept busy", "19 caught in 40"]
    assert row(planted)[5] == "≥ 78.4 % (95 %)"


def test_trials_are_read_and_the_gates_other_files_left_alone(gate: Path) -> None:
    for name in ("aa-some-cpu", "aa-some-cpu-loaded", "planted-10-some-cpu"):
        (gate / f"{name}.json").write_text(json.dumps(trials()))
    (gate / "0001_base.json").write_text("pytest-benchmark's")
    found = read_benches(gate.parent)
    assert len(found.gate.rows) == 3
    assert found.notices == ()
    page = report_of(Store(gate.parent.parent / "study"), Design("none", "", ()))[0].read_text()
    ids = re.findall(r' id="([^"]+)"', page)
    assert {"gate", "gate-trials"} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("content", ["", "[]", '{"bound": "x"}', '{"confidence": [1], "bound": 1}'])
def test_a_damaged_record_is_one_line_and_the_others_are_shown(gate: Path, content: str) -> None:
    (gate / "aa-bad.json").write_text(content)
    (gate / "aa-good.json").write_text(json.dumps(trials()))
    found = read_benches(gate.parent)
    (notice,) = found.notices
    assert notice.startswith("gate/aa-bad.json is no whole record of trials: ")
    assert len(found.gate.rows) == 1


def test_the_page_shows_the_trials_where_there_are_any(store: Store, gate: Path) -> None:
    def page() -> str:
        report_of(store, Design("none", "", ()))
        return (store.folder / "report" / "index.html").read_text()

    assert "tried on itself" not in page()
    (gate / "aa-some-cpu.json").write_text(json.dumps(trials()))
    assert "0 false alarms in 40" in page()
    assert 'href="#gate"' in page()
