"""What a reader is given: the same numbers in text, Markdown, JSON and a page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from builders import leave_out_layout
from markup import Elements
from two_sides import RUNS, Change, elsewhere, shifted, stored

from hvae.records.store import Record
from hvae.settings import override
from report.comparison.answer import sides
from report.comparison.differences import Comparison, compared
from report.comparison.output import document, markdown, page, text, write_comparison
from report.comparison.pairs import pairing


def of(tmp_path: Path, change: Change | None = None) -> Comparison:
    a, b = stored(tmp_path / "a"), stored(tmp_path / "b", change)
    return compared(pairing(a, b))


def scattered(made: Record) -> dict[str, Any]:
    """The first level helps, by more in each seed; the second moves further, but not
    clearly."""
    seed, depth = made.run.train.seed, made.run.model.num_layers
    shift = -0.5 - 0.01 * seed if depth == 1 else (3.0, -3.0, 2.0)[seed]
    return shifted(nll_nats=shift)(made)


def test_the_answer_begins_with_what_is_identical(tmp_path: Path) -> None:
    found = of(tmp_path)
    said = document(found)["answer"]
    assert said == [
        "All metrics that both have are identical in 6 of 6 pairs, bit for bit.",
        "Seconds of B over those of A: training 1.00 (quartiles 1.00 to 1.00), "
        "evaluation 1.00 (quartiles 1.00 to 1.00).",
        "A and B have the same settings, sources, commit and data.",
    ]
    assert "Differences" not in text([found], [])  # they are all 0


def test_the_answer_counts_the_cells_that_changed_and_says_by_how_much(tmp_path: Path) -> None:
    nats, *_ = document(of(tmp_path, scattered))["answer"]
    assert nats.startswith("The NLL is lower in 1 of 2 cells, by most at depth 1: −0.510 ± 0.025 ")
    assert nats.endswith("; all metrics that both have are identical in 0 of 6 pairs.")


def test_an_nll_that_another_metric_alone_differs_from_is_said_to_be_the_same(
    tmp_path: Path,
) -> None:
    nats, *_ = document(of(tmp_path, shifted(psnr_db=1.0)))["answer"]
    assert nats.startswith("The NLL is the same on every seed in 2 cells; all metrics")


def test_a_side_of_which_a_part_had_changes_says_so(tmp_path: Path) -> None:
    def edited(made: Record) -> dict[str, Any]:
        return {"code": made.code | {"git_dirty": made.run.train.seed == 1}}

    first, second = sides(of(tmp_path, edited))
    assert " with changes" not in first
    assert " with changes" in second


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (elsewhere(device_name="Other CPU"), "device name Example CPU → Other CPU."),
        (elsewhere(pack_size=3), "pack size not recorded → 3."),
    ],
)
def test_seconds_of_other_machines_and_packs_are_not_compared(
    tmp_path: Path, change: Change, words: str
) -> None:
    found = of(tmp_path, change)
    _, seconds, _ = document(found)["answer"]
    assert seconds.startswith("Seconds cannot be compared")
    assert seconds.endswith(words)
    assert "images/s on" in text([found], [])  # what names its machine
    assert "training, seconds" not in text([found], [])


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (3, "No change of the NLL is established in any of 2 cells; it differs"),
        (
            2,
            "No finding on the NLL (n = 2, and nothing is claimed from fewer than 3 paired seeds)",
        ),
    ],
)
def test_what_is_not_established_is_said(tmp_path: Path, seeds: int, said: str) -> None:
    runs = [run for run in RUNS if run.train.seed < seeds]

    def moved(made: Record) -> dict[str, Any]:
        return shifted(nll_nats=(3.0, -3.0, 2.0)[made.run.train.seed])(made)

    found = compared(
        pairing(stored(tmp_path / "a", runs=runs), stored(tmp_path / "b", moved, runs))
    )
    assert document(found)["answer"][0].startswith(said)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    def lost(made: Record) -> dict[str, Any]:
        return {"status": "diverged" if made.run == RUNS[0] else "finished"}

    told = "1 pair of 6: diverged on a side, left out of the means."
    assert told in document(of(tmp_path / "lost", lost))["notices"]
    other = of(tmp_path / "other", lambda made: {"data_sha256": "0" * 64})
    told = "Not compared, for it means something else on the other side: NLL (nats), "
    assert document(other)["notices"][-1].startswith(told)


def test_other_sources_and_settings_are_told(tmp_path: Path) -> None:
    other = [override(run, {"train.kl_weight": 0.5}) for run in RUNS]
    code = {"sources_sha256": "0" * 64, "git_commit": "1" * 40, "git_dirty": True}
    b = stored(tmp_path / "b", lambda made: {"code": made.code | code}, other)
    found = compared(pairing(stored(tmp_path / "a"), b))
    told = text([found], [])
    changed = "KL weight 1 → KL weight 0.5, sources and commit"
    assert f"A and B differ in {changed} and have the same data." in told
    assert f"B: {b.folder}, commit 1111111111 with changes, Example CPU" in told
    assert document(found)["settings"] == {"train.kl_weight": {"a": 1.0, "b": 0.5}}


def test_what_is_alone_and_what_is_one_seed_is_told(tmp_path: Path) -> None:
    single = [run for run in RUNS if not run.train.seed]
    found = compared(pairing(stored(tmp_path / "a"), stored(tmp_path / "b", None, single)))
    told = document(found)["notices"]
    assert told[0] == "4 runs of A without a partner: depth 1 (seed 1, 2); depth 2 (seed 1, 2)."
    assert told[1].startswith("One paired seed a cell: differences without intervals")
    assert "Studies of one side only: other." in text([found], ["other"])


def test_text_markdown_and_json_agree(tmp_path: Path) -> None:
    found = of(tmp_path, scattered)
    printed, marked = text([found], []), markdown([found], [])
    held = json.loads(json.dumps(document(found), allow_nan=False))
    nll = [cell for cell in held["cells"] if cell["metric"] == "nll_nats"]
    assert [cell["cell"] for cell in nll] == [{"depth": 1}, {"depth": 2}]
    for cell, row in zip(nll, ("−0.510 ± 0.025", "0.7 ± 8.0"), strict=True):
        mean, width = (float(part.replace("−", "-")) for part in row.split(" ± "))
        assert (cell["mean"], cell["half_width"]) == pytest.approx((mean, width), abs=0.05)
        place, bold = f"{cell['cell']['depth']}", cell["holm_p"] < 0.05
        assert re.search(rf"^ +{place} +3 +{row}{'[*]' if bold else ' '}", printed, re.MULTILINE)
        assert f"| {place} | 3 | {f'**{row}**' if bold else row} |" in marked


def test_the_page_is_whole_asks_for_nothing_and_has_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_layout(monkeypatch)
    found = of(tmp_path, lambda made: scattered(made) | elsewhere(device_name="<b>x</b>")(made))
    same = of(tmp_path / "same")
    paths = write_comparison([found, same], ["<i>"], tmp_path / "out", ("md", "html"))
    assert [path.name for path in paths] == ["compare.html", "compare.md"]
    html = paths[0].read_text()
    assert html == page([found, same], ["<i>"])
    elements = Elements()
    elements.feed(html)
    assert elements.open == []
    assert len(set(elements.ids)) == len(elements.ids)
    ids = {f"#{name}" for name in elements.ids}
    assert all(address in ids or address == "data:," for address in elements.addresses)
    assert html.count("<figure ") == 1  # where all metrics are identical there is nothing to see
    assert "<b>x" not in html
    assert "<i>" not in html
    assert "Content-Security-Policy" in html
