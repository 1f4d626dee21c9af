"""What is published: every page is made of its records, and README's numbers are theirs."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ablations.cli.main import main

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "results" / "published"
# | `folder` | `hvae run …` | commit | runs |
ROW = re.compile(r"^\| `(\w+)` \| `hvae run ([^`]+)` \| `(\w{7})` \| (\d+) \|", re.MULTILINE)
STUDIES = {name: rest for name, *rest in ROW.findall((ROOT / "results" / "README.md").read_text())}
FORMATS = "html,latex,csv,md,png"
FEW = 60  # runs: a page of more takes longer than the rest of these tests


def hvae(command: str, arguments: str, *more: str) -> str:
    words = [command, *shlex.split(arguments), "--results", str(PUBLISHED), *more]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_published_study_is_in_the_list() -> None:
    assert set(STUDIES) == {runs.parent.name for runs in PUBLISHED.glob("*/runs")}


@pytest.mark.parametrize("name", STUDIES)
def test_the_records_are_those_of_the_command(name: str) -> None:
    arguments, commit, count = STUDIES[name]
    document = json.loads(hvae("status", arguments, "--json"))
    records = [json.loads(path.read_text()) for path in (PUBLISHED / name).glob("runs/*.json")]
    assert document["counts"]["done"] + document["counts"]["stale"] == int(count)
    assert set(document["runs"]) == {record["digest"] for record in records}
    made: set[Any] = {(r["code"]["git_commit"][:7], r["code"]["git_dirty"]) for r in records}
    assert made == {(commit, False)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (int(count) > FEW))
        for name, (*_, count) in STUDIES.items()
    ],
)
def test_the_page_is_made_of_its_records_byte_for_byte(name: str, tmp_path: Path) -> None:
    hvae("report", STUDIES[name][0], "--format", FORMATS, "--out", str(tmp_path))
    folder = PUBLISHED / name / "report"
    kept = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert Path("index.html") in kept
    differing = [str(p) for p in kept if (tmp_path / p).read_bytes() != (folder / p).read_bytes()]
    assert differing == []
