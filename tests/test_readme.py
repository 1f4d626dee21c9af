"""What README prints works as it is printed, in an empty folder."""

import re
import shlex
from contextlib import nullcontext, suppress
from pathlib import Path

import click
import pytest

from ablations.cli.main import main
from ablations.study_files import load_study

ROOT = Path(__file__).parent.parent
PACKAGES = ("ablations", "bench", "hvae", "report", "results")
README = (ROOT / "README.md").read_text()


def test_the_study_of_toml_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    (toml,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path.write_text(toml)
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
    said = {f"{word}/" for row in README.splitlines() for word in re.findall(r"`([a-z_]+)/`", row)}
    inside = {f for f in there - named if f.split("/")[-2] + "/" in said}
    assert there - named - inside == {"bench/", "report/"}  # hold only what they name


@pytest.mark.parametrize("page", ["README.md", *(f"{name}/README.md" for name in PACKAGES)])
def test_the_commands_of_every_page_parse(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("main/results/quick").mkdir(parents=True)
    printed = re.findall(r"`(hvae [^`]+)`", (ROOT / page).read_text())
    printed += re.findall(r"^(?:\.venv/bin/)?(hvae .+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert printed
    for text in printed:
        words = shlex.split(" ".join(text.split()), comments=True)[1:]
        chosen: click.Command = main
        while isinstance(chosen, click.Group) and words and not words[0].startswith("-"):
            chosen = chosen.commands[words.pop(0)]
        if words or not isinstance(chosen, click.Group):
            is_named_alone = not words  # as `hvae run`, where the command is meant
            with suppress(click.MissingParameter) if is_named_alone else nullcontext():
                chosen.make_context("hvae", words)
