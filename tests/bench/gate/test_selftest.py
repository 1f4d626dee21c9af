"""The gate's own record: what is counted, its bounds, and that a series goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.gate import planted
from bench.gate import selftest as trials
from bench.gate.gate import Device
from bench.gate.planted import BEFORE, FILE, plant
from bench.gate.selftest import (
    Plan,
    closing,
    run,
    summary,
    verdict,
)
from bench.gate.side.harness import BENCHMARKS
from bench.gate.statistics import FAIL, INCONCLUSIVE, PASS

DEVICE = Device("cpu", "Some CPU")


@pytest.mark.parametrize(
    ("failed", "trials", "is_planted", "bound"),
    [
        (0, 40, False, 1 - 0.05 ** (1 / 40)),  # in closed form at the edges: 7.2 %
        (2, 20, False, 0.2826),  # a table's
        (5, 5, False, 1.0),
        (20, 20, True, 0.05 ** (1 / 20)),  # 86.1 %
        (13, 15, True, 0.6366),
        (0, 5, True, 0.0),
    ],
)
def test_the_bounds_are_those_of_clopper_and_pearson(
    failed: int, trials: int, is_planted: bool, bound: float
) -> None:
    found = [{"verdict": FAIL if i < failed else PASS} for i in range(trials)]
    assert summary(found, is_planted)["bound"] == pytest.approx(bound, abs=1e-4)


def test_a_failure_is_a_false_alarm_or_a_catch() -> None:
    found = [{"verdict": verdict} for verdict in (PASS, FAIL, INCONCLUSIVE, PASS)]
    assert summary(found, is_planted=False) | {"bound": 0} == {
        "repeats": 4, "false_alarms": 1, "inconclusive": 1, "bound": 0, "confidence": 0.95,
    }  # fmt: skip
    assert summary(found, is_planted=True)["caught"] == 1


def test_of_planted_slowdowns_nine_in_ten_have_to_be_caught() -> None:
    document = {"planted_percent": 5.0, "repeats": 20}
    assert [verdict(document | {"caught": n}) for n in (17, 18)] == [FAIL, PASS]


def test_trials_of_which_none_decided_anything_prove_nothing() -> None:
    document = {"planted_percent": 0.0, "repeats": 3}
    found = [(1, 0), (0, 3), (0, 2), (1, 2)]  # false alarms, inconclusive
    assert [
        verdict(document | {"false_alarms": alarms, "inconclusive": unclear})
        for alarms, unclear in found
    ] == [FAIL, INCONCLUSIVE, PASS, FAIL]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gate" / "aa-some-cpu.json"


def test_head_against_itself_is_recorded_trial_by_trial(scratch: Any, file: Path) -> None:
    scratch.commit()
    lines: list[str] = []
    held: list[int] = []

    def report(line: str) -> None:
        lines.append(line)
        held.append(json.loads(file.read_text())["repeats"])

    document = run(scratch.root, Plan(0.0, False, 2), DEVICE, file, report)
    assert json.loads(file.read_text()) == document
    assert held == [1, 2]
    assert lines[1].startswith("2 of 2: pass (")
    assert (document["repeats"], document["false_alarms"], document["inconclusive"]) == (2, 0, 0)
    assert document["commit"] == scratch.git("rev-parse", "HEAD")
    assert not document["is_dirty"]
    assert document["machine"]["device_name"] == "Some CPU"
    assert closing(document).startswith("0 false alarms in 2 trials (at most, 95% bound ")
    assert verdict(document) == PASS
    assert scratch.worktrees() == 1


def test_a_series_goes_on_where_it_was_and_begins_anew_with_other_sources(
    scratch: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = {"verdict": PASS, "seconds": 0.0, "findings": []}
    monkeypatch.setattr(trials, "_trial", lambda *given: trial)
    scratch.commit()
    run(scratch.root, Plan(0.0, False, 1), DEVICE, file, lambda line: None)
    lines: list[str] = []
    document = run(scratch.root, Plan(0.0, False, 2), DEVICE, file, lines.append)
    assert (document["repeats"], len(lines)) == (2, 1)
    run(scratch.root, Plan(0.0, False, 2), DEVICE, file, lines.append)
    assert lines[1:] == ["2 trials are recorded already, none is run now; --repeat 3 adds one"]
    scratch.commit(EXTRA=1)
    document = run(scratch.root, Plan(0.0, False, 1), DEVICE, file, lines.append)
    assert (document["repeats"], len(lines)) == (1, 3)
    assert len(list(file.parent.iterdir())) == 2  # the old record is kept beside it
    stub = scratch.root / "hvae/stub.py"
    for number in (3, 4):  # edits that are not committed: sources of the same commit
        stub.write_text(f"{stub.read_text()}MORE = {number}\n")
        document = run(scratch.root, Plan(0.0, False, 1), DEVICE, file, lines.append)
        assert document["is_dirty"]
        assert len(list(file.parent.iterdir())) == number


def test_a_trial_that_could_not_be_measured_is_no_false_alarm(scratch: Any, file: Path) -> None:
    scratch.write("hvae/__init__.py", "import os\nassert os.getcwd()[-4:] != 'head'\n")
    scratch.commit()
    with pytest.raises(ValueError, match=r"^trial: head cannot be measured: AssertionError"):
        run(scratch.root, Plan(0.0, False, 1), DEVICE, file, lambda line: None)
    assert not file.exists()


def test_under_load_a_core_is_busy_meanwhile_and_idle_again_after(
    scratch: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hogs = []
    real = trials.subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        process = real(command, **options)
        if "getppid" in command[-1]:
            hogs.append(process)
        return process

    def trial(*given: Any) -> dict[str, Any]:
        assert hogs[0].poll() is None
        return {"verdict": FAIL, "seconds": 0.0, "findings": []}

    monkeypatch.setattr(trials.subprocess, "Popen", start)
    monkeypatch.setattr(trials, "_trial", trial)
    document = run(scratch.root, Plan(0.0, True, 1), DEVICE, file, lambda line: None)
    assert hogs[0].poll() is not None
    assert closing(document).startswith("1 false alarms in 1 trials under load")
    assert verdict(document) == FAIL


def test_planted_work_is_judged_by_the_clock_alone(
    scratch: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.write(FILE, BEFORE)
    scratch.commit()
    monkeypatch.setattr(trials, "rows_for", lambda *given: 7)
    rows_planted = []

    def slower(side: Path, rows: int) -> None:
        rows_planted.append(rows)
        stub = side / "hvae/stub.py"
        stub.write_text(stub.read_text() + f"SECONDS = dict.fromkeys({BENCHMARKS!r}, 1.05)\n")

    monkeypatch.setattr(trials, "plant", slower)
    document = run(scratch.root, Plan(5.0, False, 1), DEVICE, file, lambda line: None)
    assert rows_planted == [7]
    assert (document["caught"], document["repeats"]) == (1, 1)
    assert document["trials"][0]["tiers"] == {"time": FAIL}
    assert closing(document).startswith("caught 1 of 1 slowdowns of 5 % (at least, 95% bound 5.0%)")
    assert verdict(document) == PASS


def test_planting_adds_products_before_adam_and_refuses_a_step_it_does_not_know(
    tmp_path: Path,
) -> None:
    source = tmp_path / FILE
    source.parent.mkdir(parents=True)
    source.write_text(f"    def step(self, x):\n{BEFORE}")
    plant(tmp_path, 12)
    found = source.read_text()
    assert "x[None, :12], first)" in found
    compile(f"class Group:\n{found}", "planted", "exec")
    source.write_text("no such step")
    with pytest.raises(ValueError, match=rf"planted: {FILE} has no one line"):
        plant(tmp_path, 12)


@pytest.mark.parametrize("cost", [lambda rows: 0.5 * rows, lambda rows: 2.0 + 0.4 * rows])
def test_as_many_rows_are_planted_as_cost_the_per_cent_asked_for(
    cost: Callable[[int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted, "_added", lambda root, rows, device, progress: cost(rows))
    for percent in (5.0, 10.0):
        rows = planted.rows_for(Path(), percent, "cpu", lambda what: None)
        assert cost(rows) == pytest.approx(percent, abs=0.25)  # half a row


def test_more_rows_than_the_trial_are_corrected_too_and_no_more_than_a_batch_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planted, "_added", lambda root, rows, device, progress: 1.0 + 0.2 * rows)
    rows = planted.rows_for(Path(), 12.0, "cpu", lambda what: None)
    assert rows == 55
    with pytest.raises(ValueError, match=r"^planted: 20 % takes 95 of 64 rows; allowed: less$"):
        planted.rows_for(Path(), 20.0, "cpu", lambda what: None)
