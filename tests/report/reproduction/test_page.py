"""The page of a reproduction, from any state of its folder."""

import copy
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import leave_fonts_uncut
from markup import Elements
from matplotlib.figure import Figure
from reproduction_builders import GOOD, config, write

from hvae.config import RunConfig
from hvae.records.attachments import weights_file
from hvae.records.store import Store
from hvae.settings import digest
from report.render.drawing import Drawing
from report.reproduction import page as reproduction_page
from report.reproduction.folder import read_reproduction
from report.reproduction.page import render, write_reproduction

FIGURES = ("loss-curve", "samples", "latent-map", "manifold")
GRADE = re.compile(r'<span class="grade">(.*?)</span>')


def page(folder: Path, run: RunConfig | None = None, facts: Any = GOOD) -> str:
    """The page of a synthetic reproduction, its figures empty, without line breaks."""
    write(folder, run or config(), facts)
    return rendered(folder)


def rendered(folder: Path) -> str:
    """The page of what a folder holds, its figures empty, without line breaks."""
    return re.sub(r"\s+", " ", render(read_reproduction(folder), empty_figures()))


def empty_figures() -> dict[str, Drawing]:
    return {name: Drawing(name, name, "", Figure()) for name in FIGURES}


def grades(text: str) -> list[str]:
    """The five verdicts, as the first table has them."""
    found = [grade[2:] for grade in GRADE.findall(text)]
    assert found[:5] == found[5:]  # the summary and the results agree
    return found[:5]


FLAT = {"tile_mse": 1e-5, "step_mse": 1e-7, "smoothness": 1.0}


def changed(section: str, **values: Any) -> dict[str, dict[str, Any]]:
    facts = copy.deepcopy(GOOD)
    facts[section] |= values
    return facts


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What a whole reproduction is written as, figures included: read only."""
    folder = tmp_path_factory.mktemp("written")
    write(folder, config())
    with pytest.MonkeyPatch.context() as patch:
        leave_fonts_uncut(patch)
        return write_reproduction(folder)


def test_the_page_comes_first_and_every_figure_beside_it(written: list[Path]) -> None:
    paths, report = written, written[0].parent
    assert (paths[0].name, report.name) == ("index.html", "report")
    expected = [f"figures/{name}.{kind}" for kind in ("png", "pdf") for name in FIGURES]
    assert [p.relative_to(report).as_posix() for p in paths[1:]] == expected
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert paths[-1].read_bytes().startswith(b"%PDF")
    os.umask(umask := os.umask(0))
    assert {p.stat().st_mode & 0o777 for p in paths} == {0o666 & ~umask}
    assert paths[0].stat().st_size < 3e6


def test_the_page_is_whole_and_asks_for_nothing_outside(written: list[Path]) -> None:
    text = written[0].read_text()
    parser = Elements()
    parser.feed(text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(address.startswith(("#", "data:")) for address in parser.addresses)
    assert {address[1:] for address in parser.addresses if address[0] == "#"} <= set(parser.ids)
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org)", text)
    order = [text.index(f'id="{n}"') for n in ("verdicts", "explorer", "results", "loss", "how")]
    assert order == sorted(order)


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(
    tmp_path: Path, written: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_fonts_uncut(monkeypatch)
    write(tmp_path, config())
    again = [path.read_bytes() for path in write_reproduction(tmp_path)]
    assert again == [path.read_bytes() for path in written]
    assert str(tmp_path).encode() not in again[0]


def test_documented_settings_with_good_numbers_are_reproduced(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert grades(text) == ["reproduced"] * 5
    assert "Of 5 documented results: 5 reproduced." in text
    assert "<code>hvae reproduce</code>" in text
    assert "did not use the documented settings" not in text
    for number in ("174,084", "10 of 10", "81.0 %", "0.970", "variety 0.385"):
        assert number in text


def test_other_settings_are_said_on_top_and_in_every_verdict(tmp_path: Path) -> None:
    text = page(tmp_path, config("digits", epochs=3))
    said = "epochs 3, not 30; data digits, not mnist"
    assert f"did not use the documented settings: {said}. The best verdict" in text
    assert grades(text) == ["reproduced with a difference"] * 5
    assert text.count(said) == 1 + 2 * 4
    assert "29,364" in text
    assert "<code>hvae reproduce --data digits</code>" in text


@pytest.mark.parametrize(
    ("facts", "failing"),
    [
        (changed("samples", digits_found=1, counts=[0] * 9 + [64]), 2),
        (changed("map", trustworthiness=0.5, neighbour_accuracy=0.1), 3),
        (changed("manifold", **FLAT) | {"used_manifold": GOOD["manifold"] | FLAT}, 4),
    ],
)
def test_one_bad_picture_fails_alone(tmp_path: Path, facts: Any, failing: int) -> None:
    expected = ["reproduced"] * 5
    expected[failing] = "not reproduced"
    assert grades(page(tmp_path, config(), facts)) == expected


def test_every_rule_names_its_thresholds(tmp_path: Path) -> None:
    rules = re.findall(r'<dd class="note">(.*?)</dd>', page(tmp_path))
    thresholds = [["174,084"], ["10 %", "80 %", "2.3"], ["90 %", " 9 of", "50 %"]]
    thresholds += [["0.9", "50 %"], ["0.9", "0.25", "0.01"]]
    for rule, numbers in zip(rules, thresholds, strict=True):
        assert all(number in rule for number in numbers)


@pytest.mark.parametrize("depth", [1, 3])
def test_other_depths_have_their_page(tmp_path: Path, depth: int) -> None:
    text = page(tmp_path, config(depth=depth))
    assert f"num_layers {depth}, not 2" in text
    assert f"posterior means of z_{depth}" in text
    assert ("from two levels on it is not" in text) == (depth == 1)


def test_the_loss_is_taken_apart_with_the_numbers_of_the_test_set(tmp_path: Path) -> None:
    write(tmp_path, config())
    metrics = next(iter(Store(tmp_path))).metrics
    closed = (metrics["loss_documented"] - metrics["reconstruction_nats"]) / 2
    text = page(tmp_path)
    assert f"it is {closed:.2f} nats here" in text
    assert f"the joint KL is {metrics['rate_nats']:.2f}" in text
    assert f"{closed - metrics['rate_nats']:.2f} more is charged" in text


def test_weights_that_half_precision_cannot_hold_leave_the_explorer_out(tmp_path: Path) -> None:
    run = config()
    state = write(tmp_path, run)
    state["decoders.0.linear_2.bias"][0] = 1e6
    Store(tmp_path).weights_path(digest(run)).write_bytes(weights_file(state, run))
    text = rendered(tmp_path)
    assert "There is no explorer" in text
    assert "explorer-model" not in text


@pytest.mark.parametrize("missing", ["reproduction.npz", ".safetensors"])
def test_what_is_missing_is_named_and_nothing_is_written(tmp_path: Path, missing: str) -> None:
    write(tmp_path, config())
    (path,) = [p for p in tmp_path.rglob("*") if p.name.endswith(missing)]
    path.unlink()
    with pytest.raises(ValueError, match=re.escape(path.name)) as told:
        write_reproduction(tmp_path)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "report").exists()


def test_of_a_diverged_run_there_is_nothing_to_show(tmp_path: Path) -> None:
    write(tmp_path, config())
    (record,) = Store(tmp_path)
    Store(tmp_path).path(record.digest).unlink()
    Store(tmp_path).write(replace(record, status="diverged"))
    with pytest.raises(ValueError, match=f"{record.digest}.json: diverged, so nothing"):
        read_reproduction(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction_page, "draw_reproduction", lambda _: empty_figures())
    write(tmp_path, config())
    (tmp_path / "report").write_text("")
    with pytest.raises(ValueError, match="cannot write under"):
        write_reproduction(tmp_path)
