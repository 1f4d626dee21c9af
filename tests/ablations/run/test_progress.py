import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from ablations.grid import Pack, labels, packs, runs
from ablations.run.progress import Bars, Lines, Tally, display
from ablations.studies import PRESETS
from hvae.config import digest
from hvae.records.store import Record

MakeRecord = Callable[..., Record]
STUDY = PRESETS["quick"]
LABELS = labels(STUDY)
PACKS = packs("quick", runs(STUDY), {digest(run) for run in runs(STUDY)}, 8)


@dataclass(frozen=True)
class Task:
    pack: Pack


def tally() -> Tally:
    return Tally(PACKS, LABELS, [])


def test_the_fraction_is_by_cost_and_ends_at_one() -> None:
    found = tally()
    assert found.fraction == 0
    found.shares[PACKS[0]] = 0.5
    assert found.fraction == pytest.approx(PACKS[0].cost / 2 / sum(p.cost for p in PACKS))
    for pack in PACKS:
        found.shares[pack] = 1.0
    assert found.fraction == 1


def test_the_best_is_the_lowest_on_the_scoreboard_and_counts_what_was_there(
    make_record: MakeRecord,
) -> None:
    first, second, third, fourth = runs(STUDY)[:4]
    found = Tally(PACKS, LABELS, [make_record(first, nll=80.0)])
    assert found.best_text == "best 80.00 nats"
    found.add(make_record(second, nll=70.0))
    found.add(make_record(third, nll=75.0))
    found.add(make_record(fourth, nll=None))
    assert found.best_text == "best 70.00 nats, 1 diverged"
    assert found.best is not None
    assert found.best.run == second
    assert found.recorded == 4


def test_without_a_result_there_is_no_best(make_record: MakeRecord) -> None:
    record = replace(make_record(runs(STUDY)[0]), metrics={})
    assert Tally(PACKS, LABELS, [record]).best_text == "no result yet"


def test_what_is_no_number_is_never_the_best(make_record: MakeRecord) -> None:
    """As a run leaves it: in the store it would be null."""
    first, second = runs(STUDY)[:2]
    found = Tally(PACKS, LABELS, [replace(make_record(first, nll=math.nan), status="diverged")])
    assert (found.best_text, found.diverged) == ("no result yet, 1 diverged", 1)
    found.add(make_record(second, nll=70.0))
    assert found.best_text == "best 70.00 nats, 1 diverged"


def test_a_part_that_is_tried_again_changes_no_share() -> None:
    found = tally()
    found.advance(replace(PACKS[0], runs=PACKS[0].runs[:1]), 1.0)
    assert found.fraction == 0


def test_lines_tell_packs_runs_best_and_time_left(
    make_record: MakeRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines("quick", tally()) as lines:
        lines.on_progress(Task(PACKS[0]), 1, 1)
        lines.on_record(make_record(PACKS[0].runs[0], nll=70.0))
        lines.on_record(make_record(PACKS[0].runs[1], nll=None))
    out, err = capsys.readouterr()
    said = err.splitlines()
    assert out == ""
    assert said[:2] == [
        "quick: 4 packs to train, after the throughput of each cell",
        "quick: trained and evaluated depth 4, 8 runs; time left unknown",
    ]
    first, second = (LABELS[digest(run)] for run in PACKS[0].runs[:2])
    assert said[2].startswith(f"quick 1/32: {first}: 70.00 nats; best 70.00 nats ({first}); ")
    assert f"{second}: diverged; best 70.00 nats, 1 diverged ({first}); " in said[3]


def test_time_left_is_by_cost_since_the_first_progress() -> None:
    times = iter([100.0, 110.0])  # whatever it took to start does not count
    found = Tally(PACKS, LABELS, [], clock=lambda: next(times))
    assert found.left_text == "time left unknown"
    found.advance(PACKS[0], 0.0)
    found.advance(PACKS[0], 1.0)
    cost, total = PACKS[0].cost, sum(pack.cost for pack in PACKS)
    assert found.left_text == f"{10 * (total - cost) / cost:.0f} s left"


def test_lines_know_no_time_left_before_any_progress(
    make_record: MakeRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    Lines("quick", tally()).on_record(make_record(PACKS[0].runs[0]))
    assert "time left unknown" in capsys.readouterr().err


def test_bars_show_the_grid_and_the_pack_in_hand(
    make_record: MakeRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    with Bars("quick", tally()) as bars:
        bars.on_progress(Task(PACKS[0]), 1, 10)
        bars.on_progress(Task(PACKS[1]), 9, 10)  # beside it: not the one in hand
        assert (bars.pack.n, bars.pack.desc) == (1, PACKS[0].label)
        bars.on_progress(Task(PACKS[0]), 10, 10)
        bars.on_progress(Task(PACKS[1]), 10, 10)
        assert (bars.pack.n, bars.pack.desc) == (10, PACKS[1].label)
        bars.on_record(make_record(PACKS[0].runs[0], nll=70.0))
        assert bars.grid.n == pytest.approx(
            sum(p.cost for p in PACKS[:2]) / sum(p.cost for p in PACKS)
        )
    out, err = capsys.readouterr()
    assert out == ""
    assert "quick 1/32 runs" in err
    assert "best 70.00 nats" in err


def test_a_log_gets_lines_and_a_terminal_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(display("quick", tally()), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with display("quick", tally()) as shown:
        assert isinstance(shown, Bars)
