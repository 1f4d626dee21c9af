"""How far a grid has come: its arithmetic, its lines, its bar."""

import io
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from ablations.grid import Packing, halves, labels, packs, runs
from ablations.presets import PRESETS
from ablations.run.progress import Display
from ablations.studies import narrow
from hvae.records.store import Record
from hvae.settings import digest

MakeRecord = Callable[..., Record]
STUDY = narrow(PRESETS["quick"], seeds=2)
LABELS = labels(STUDY)
PACKS = packs("quick", runs(STUDY), {digest(run) for run in runs(STUDY)}, Packing(8))


def display(*present: Record) -> Display:
    return Display("quick", PACKS, LABELS, present)


def test_the_fraction_is_by_cost_and_ends_at_one() -> None:
    found = display()
    assert found.fraction == 0
    found.advance(PACKS[0], 1, 2)
    assert found.fraction == pytest.approx(PACKS[0].cost / 2 / sum(p.cost for p in PACKS))
    for pack in PACKS:
        found.advance(pack, 2, 2)
    assert found.fraction == 1


def test_the_best_is_the_lowest_on_the_scoreboard_and_counts_what_was_there(
    make_record: MakeRecord,
) -> None:
    first, second, third, fourth = runs(STUDY)[:4]
    found = display(make_record(first, nll=80.0))
    assert found.best_text == "best 80.00 nats"
    found.add(make_record(second, nll=70.0))
    found.add(make_record(third, nll=75.0))
    found.add(make_record(fourth, nll=None))
    assert found.best_text == "best 70.00 nats, 1 diverged"
    assert found.best_label == LABELS[digest(second)]
    assert found.recorded_text == "quick 4/32"


def test_without_a_result_there_is_no_best(make_record: MakeRecord) -> None:
    record = replace(make_record(runs(STUDY)[0]), metrics={})
    assert display(record).best_text == "no result yet"


@pytest.mark.parametrize("nll", [math.nan, -math.inf])
def test_what_is_no_number_is_never_the_best(make_record: MakeRecord, nll: float) -> None:
    """As a run leaves it: in the store it would be null."""
    first, second = runs(STUDY)[:2]
    found = display(replace(make_record(first, nll=nll), status="diverged"))
    assert (found.best_text, found.diverged) == ("no result yet, 1 diverged", 1)
    found.add(make_record(second, nll=70.0))
    assert found.best_text == "best 70.00 nats, 1 diverged"


def test_a_part_that_is_tried_again_changes_no_share() -> None:
    found = display()
    found.advance(PACKS[0], 1, 2)
    before, halved = found.fraction, halves(PACKS[0])
    assert before > 0
    found.replace(PACKS[0], halved)
    assert found.fraction == pytest.approx(0)  # both are to be trained whole
    found.replace(halved[0], [])
    assert found.fraction == pytest.approx(halved[0].cost / found.cost)  # behind us


def test_a_log_is_told_packs_runs_best_and_time_left(
    make_record: MakeRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    found = display()
    found.advance(PACKS[0], 1, 2)
    found.advance(PACKS[0], 2, 2)
    found.add(make_record(PACKS[0].runs[0], nll=70.0))
    found.add(make_record(PACKS[0].runs[1], nll=None))
    out, err = capsys.readouterr()
    packs_text, pack, first, second = err.splitlines()
    assert out == ""
    assert packs_text == "quick: 4 packs to train, after the throughput of each cell"
    assert pack.startswith("quick: trained and evaluated depth 4, 8 runs; ")
    one, other = (LABELS[digest(run)] for run in PACKS[0].runs[:2])
    assert first.startswith(f"quick 1/32: {one}: 70.00 nats; best 70.00 nats ({one}); ")
    assert f"{other}: diverged; best 70.00 nats, 1 diverged ({one}); " in second


def test_time_left_is_by_cost_since_the_first_progress(make_record: MakeRecord) -> None:
    now = 100.0
    found = Display("quick", PACKS, LABELS, [], clock=lambda: now)
    assert found.left_text == "time left unknown"
    found.add(make_record(PACKS[0].runs[0]))
    assert found.left_text == "time left unknown"
    found.advance(PACKS[0], 0, 1)  # whatever it took to start does not count
    now = 110.0
    found.advance(PACKS[0], 1, 1)
    cost, total = PACKS[0].cost, sum(pack.cost for pack in PACKS)
    assert found.left_text == f"{10 * (total - cost) / cost:.0f} s left"


def test_a_terminal_is_shown_a_bar_instead(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    found = display()
    with found.bar:
        found.advance(PACKS[0], 1, 1)
        found.add(make_record(PACKS[0].runs[0], nll=70.0))
        assert found.bar.n == pytest.approx(PACKS[0].cost / sum(p.cost for p in PACKS))
    shown = terminal.getvalue()
    assert "quick 1/32 runs" in shown
    assert "best 70.00 nats" in shown
    assert "trained and evaluated" not in shown
