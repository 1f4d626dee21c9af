"""What README prints works as it is printed, in an empty folder."""

import re
from pathlib import Path
from typing import Any

import pytest

from ablations.study_files import load_study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    """The one block of that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


def test_the_snippet_of_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(block("python"), found)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["depth", "seed", "nll_nats"]
    assert found["model"].config.num_layers == 2
    assert len(found["everything"]) == len(rows) > 0


def test_the_study_of_toml_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(block("toml"))
    study = load_study(str(path))
    assert (len(study.cells), study.seeds) == (8, 3)


def test_every_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md")):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (page.parent / target).exists() or target.startswith("https://"), (page, target)


@pytest.mark.parametrize("folder", re.findall(r"^\| `(\w+/(?:\w+/)*)` \|", README, re.MULTILINE))
def test_every_folder_of_the_map_is_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_every_folder_of_the_packages_is_on_the_map() -> None:
    there = {
        path.parent.relative_to(ROOT).as_posix() + "/"
        for package in ("hvae", "bench", "report", "ablations")
        for path in (ROOT / package).rglob("*.py")
    }
    named = set(re.findall(r"^\| `(\w+/(?:\w+/)*)` \|", README, re.MULTILINE))
    below = ("bench/", "report/")  # hold only what they name
    inside = {f for f in there if any(f.startswith(n) and f != n for n in named - {*below})}
    assert there - named - inside <= set(below)
