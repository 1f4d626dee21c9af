"""The gate from end to end over a scratch repository, its worker replaced by one that answers at
once: which tier says what, and with which exit code."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.gate import gate
from bench.gate import output as wording
from bench.gate.gate import Device, Outcome, compare, rejudge
from bench.gate.paired_timing import Pair
from bench.gate.side.harness import BENCHMARKS, CONSTRAINTS, TRAININGS
from bench.gate.sides import CannotMeasure
from bench.gate.statistics import CLOCK, FAIL, PASS
from bench.gate.tiers import NOTE, WAIVED
from bench.gate.waivers import FILE

COUNTS = {name: {"flops": 100, "operators.mul": 3} for name in BENCHMARKS}
NUMERICS = {name: {"values": {"loss": 1.5}, "parameters_sha256": "0"} for name in TRAININGS}
OTHER = {"iwae": {"values": {"loss": 1.5000001}, "parameters_sha256": "1"}}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device("cpu", "Some CPU", tmp_path / "results" / "some-cpu")


def statuses(outcome: Outcome) -> dict[str, str]:
    return {tier.name: tier.status for tier in outcome.tiers}


def test_identical_sources_are_not_measured(scratch: Any, device: Device) -> None:
    base = scratch.commit(SLEEP=60)
    scratch.write("README.md", "more words")
    stub = (scratch.root / "hvae/stub.py").read_text()
    scratch.write("hvae/stub.py", f"# words beside the code\n{stub}")
    outcome = compare(scratch.root, base, device)
    assert statuses(outcome) == {"identity": PASS}
    assert (outcome.exit_code, outcome.files) == (0, [])
    assert "identical" in wording.lines(outcome)[1]
    assert wording.lines(outcome)[-1].startswith("PASS: what is measured is the same code")


def test_other_versions_of_libraries_are_not_compared_and_that_is_said(
    scratch: Any, device: Device
) -> None:
    base = scratch.commit()
    scratch.write(CONSTRAINTS, "torch==3.0\n")
    scratch.commit()
    outcome = compare(scratch.root, base, device)
    assert statuses(outcome) == {"identity": PASS}
    assert "constraints.txt differs, but both sides run" in wording.lines(outcome)[2]
    scratch.commit(EXTRA=1)
    (note,) = compare(scratch.root, base, device).tiers[0].findings
    assert (note.status, "constraints.txt differs" in note.text) == (NOTE, True)


def test_a_changed_commit_that_is_not_slower_passes_every_tier(
    scratch: Any, device: Device
) -> None:
    base = scratch.commit(EXTRA=1)
    head = scratch.commit(EXTRA=2)
    outcome = compare(scratch.root, base, device)
    assert statuses(outcome) == dict.fromkeys(("coverage", "numerics", "counts", "time"), PASS)
    assert outcome.exit_code == 0
    assert [path.name[:9] for path in outcome.files] == ["0001_base", "0002_head"]
    assert statuses(rejudge(*outcome.files)).items() <= statuses(outcome).items()
    document = json.loads(outcome.files[1].read_text())
    assert document["commit_info"]["id"] == head
    assert len(document["benchmarks"][0]["stats"]["data"]) == 6  # the screen was enough
    assert scratch.worktrees() == 1


def test_a_slower_commit_is_timed_longer_and_fails(scratch: Any, device: Device) -> None:
    base = scratch.commit()
    scratch.commit(SECONDS=dict.fromkeys(BENCHMARKS, 1.0) | {"train_pack": 1.05})
    outcome = compare(scratch.root, base, device)
    assert statuses(outcome)["time"] == FAIL
    assert outcome.exit_code == 1
    failed = [f.text for f in outcome.tiers[-1].findings if f.status == FAIL]
    assert failed == ["train_pack: processor time +5.0% (error 0.0%, p 1e-06, 20 pairs)"]
    rounds = {
        entry["name"]: entry["stats"]["rounds"]
        for entry in json.loads(outcome.files[0].read_text())["benchmarks"]
    }
    assert rounds == dict.fromkeys(BENCHMARKS, 6) | {"train_pack": 20}
    assert rejudge(*outcome.files).exit_code == 1


def test_head_is_the_checkout_as_it_stands(scratch: Any, device: Device) -> None:
    scratch.commit()
    stub = (scratch.root / "hvae/stub.py").read_text()
    scratch.write("hvae/stub.py", stub.replace("'flops': 100", "'flops': 101"))
    outcome = compare(scratch.root, "HEAD", device)
    assert statuses(outcome)["counts"] == FAIL
    assert "with uncommitted changes" in wording.lines(outcome)[0]


def test_what_has_failed_is_not_timed_until_a_committed_waiver_accepts_it(
    scratch: Any, device: Device
) -> None:
    base = scratch.commit()
    more = COUNTS | {"train_step": {"flops": 120, "operators.mul": 3}}
    scratch.commit(COUNTS=more)
    failed = compare(scratch.root, base, device)
    assert statuses(failed) == {
        "coverage": PASS, "numerics": PASS, "counts": FAIL, "time": "skipped",
    }  # fmt: skip
    offered = "train_step.flops: 100 -> 120  # why"
    assert f"  {offered}" in wording.lines(failed)
    scratch.write(FILE, offered + "\n")
    assert compare(scratch.root, base, device).exit_code == 1  # not committed: does not count
    waived = scratch.commit()
    outcome = compare(scratch.root, base, device)
    assert outcome.exit_code == 0
    assert "          WAIVED train_step.flops: 100 -> 120: why" in wording.lines(outcome)
    scratch.commit(COUNTS=COUNTS)
    back = scratch.commit()
    scratch.commit(COUNTS=more)
    # The same increase once more: the line is the base's by now, and accepts nothing.
    assert compare(scratch.root, back, device).exit_code == 1
    assert waived != back


def test_a_bad_waiver_is_an_error_before_anything_is_measured(
    scratch: Any, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "measure_exactly", lambda *given: pytest.fail("it measured"))
    base = scratch.commit()
    scratch.write(FILE, "flops may grow\n")
    scratch.commit(EXTRA=1)
    with pytest.raises(ValueError, match="line 1: 'flops may grow' is no waiver; allowed: "):
        compare(scratch.root, base, device)


def test_other_numbers_fail(scratch: Any, device: Device) -> None:
    base = scratch.commit()
    scratch.commit(NUMERICS=NUMERICS | OTHER)
    outcome = compare(scratch.root, base, device)
    assert statuses(outcome)["numerics"] == FAIL
    assert outcome.exit_code == 1


def test_committed_waivers_accept_other_numbers_and_longer_times(
    scratch: Any, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, slower = ([Pair(1.0, r, dict.fromkeys(CLOCK, math.log(r)))] * 20 for r in (1.0, 1.05))
    pairs = dict.fromkeys(BENCHMARKS, same) | {"train_pack": slower}
    monkeypatch.setattr(gate, "time_adaptively", lambda *given: pairs)
    base = scratch.commit()
    accepted = ("numerics.iwae: equal -> 1e-6  # why", "train_pack.busy: 1 -> 1.07  # why")
    scratch.write(FILE, "\n".join(accepted))
    scratch.commit(NUMERICS=NUMERICS | OTHER)
    outcome = compare(scratch.root, base, device)
    assert outcome.exit_code == 0
    waived = [f.text for tier in outcome.tiers for f in tier.findings if f.status == WAIVED]
    assert [text.partition(":")[0] for text in waived] == ["numerics.iwae", "train_pack"]


def with_another_harness(scratch: Any, names: str) -> str:
    """A commit whose harness has these names, HEAD behind it with the usual ones."""
    harness = (scratch.root / "bench/gate/side/harness.py").read_text()
    scratch.write("bench/gate/side/harness.py", f"{names}\nTRAININGS = ()\n")
    base: str = scratch.commit()
    scratch.write("bench/gate/side/harness.py", harness)
    scratch.commit()
    return base


@pytest.mark.parametrize(
    ("old", "complaint"),
    [
        ("BENCHMARKS = ('train_step', 'dropped')", "dropped.benchmarks: 1 -> 0"),
        ("BENCHMARKS = ('train',)", "train.benchmarks: 1 -> 0"),
    ],
)
def test_a_benchmark_that_head_dropped_or_renamed_fails(
    scratch: Any, device: Device, old: str, complaint: str
) -> None:
    outcome = compare(scratch.root, with_another_harness(scratch, old), device)
    assert statuses(outcome)["coverage"] == FAIL
    assert outcome.exit_code == 1
    assert any(f"FAIL {complaint}" in line for line in wording.lines(outcome))


def test_a_new_benchmark_is_measured_of_both_sides_and_passes(scratch: Any, device: Device) -> None:
    base = with_another_harness(scratch, f"BENCHMARKS = {BENCHMARKS[1:]!r}")
    outcome = compare(scratch.root, base, device)
    assert set(statuses(outcome).values()) == {PASS}
    assert f"{BENCHMARKS[0]} is missing in base" in "\n".join(wording.lines(outcome))


@pytest.mark.parametrize("counts", [{}, {"train_step": COUNTS["train_step"]}])
def test_benchmarks_that_were_not_measured_fail(
    scratch: Any, device: Device, counts: dict[str, Any]
) -> None:
    base = scratch.commit()
    scratch.commit(COUNTS=counts)
    assert compare(scratch.root, base, device).exit_code == 1


def test_a_benchmark_missing_on_both_sides_fails_too(scratch: Any, device: Device) -> None:
    base = scratch.commit(COUNTS={"train_step": COUNTS["train_step"]})
    scratch.commit(EXTRA=1)
    assert compare(scratch.root, base, device).exit_code == 1


def test_a_base_that_does_not_build_is_wrong_input_a_head_that_does_not_a_failure(
    scratch: Any, device: Device
) -> None:
    good = scratch.commit()
    scratch.write("hvae/__init__.py", "def broken(:\n")
    broken = scratch.commit()
    outcome = compare(scratch.root, good, device)
    assert outcome.exit_code == 1
    *_, reason, _, verdict = wording.lines(outcome)
    assert "head cannot be measured: SyntaxError" in reason
    assert verdict.startswith("FAIL: HEAD cannot be measured (")
    scratch.write("hvae/__init__.py", "")
    scratch.commit()
    with pytest.raises(
        CannotMeasure,
        match=r'^base cannot be measured: SyntaxError: .* \(File "hvae/__init__.py", line 1\)$',
    ):
        compare(scratch.root, broken, device)


def test_a_head_that_ends_while_it_is_timed_is_a_failure_a_base_is_wrong_input(
    scratch: Any, device: Device
) -> None:
    good = scratch.commit()
    broken = scratch.commit(SECONDS={})
    outcome = compare(scratch.root, good, device)
    assert (outcome.exit_code, outcome.files) == (1, [])
    assert outcome.tiers[-1].summary.startswith("head cannot be measured: KeyError: ")
    scratch.commit(SECONDS=dict.fromkeys(BENCHMARKS, 1.0))
    with pytest.raises(CannotMeasure, match=r"^base cannot be measured: KeyError"):
        compare(scratch.root, broken, device)


def test_no_benchmark_has_the_name_of_a_training() -> None:
    assert {*BENCHMARKS}.isdisjoint(TRAININGS)  # else one that is gone hides behind the other


def test_head_against_itself_goes_through_every_tier(scratch: Any, device: Device) -> None:
    scratch.commit()
    outcome = compare(scratch.root, None, device._replace(folder=None))
    assert list(statuses(outcome)) == ["coverage", "numerics", "counts", "time"]
    assert (outcome.exit_code, outcome.files) == (0, [])


def test_an_inconclusive_tier_is_exit_code_3_and_a_failure_outweighs_it() -> None:
    unclear = gate.Tier("time", "inconclusive", "", [])
    failed = gate.Tier("counts", FAIL, "", [])
    assert Outcome([unclear], 0.0, []).exit_code == 3
    assert Outcome([unclear, failed], 0.0, []).exit_code == 1
    assert "INCONCLUSIVE: " in wording.lines(Outcome([unclear], 0.0, []))[-1]


def test_markdown_has_every_tier_and_the_lines_to_accept(scratch: Any, device: Device) -> None:
    base = scratch.commit()
    scratch.commit(COUNTS=COUNTS | {"train_step": {"flops": 120, "operators.mul": 3}})
    text = wording.markdown(compare(scratch.root, base, device))
    assert text.startswith("### Performance gate: fail\n")
    assert "| counts | fail | 10 counts of 5 benchmarks |" in text
    assert "- fail: `train_step.flops: 100 -> 120`" in text
    assert "```\ntrain_step.flops: 100 -> 120  # why\n```" in text
