"""`hvae compare` on the command line."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from two_sides import RUNS, shifted, stored

from ablations.cli.main import main
from hvae.settings import digest


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two studies, B 0.25 nats above A."""
    monkeypatch.chdir(tmp_path)
    b = stored(tmp_path / "b" / "quick", shifted(nll_nats=0.25))
    return stored(tmp_path / "a" / "quick").folder, b.folder


def test_a_table_is_printed_and_nothing_written(folders: tuple[Path, Path]) -> None:
    result = call(*folders)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "The NLL is higher in 2 of 2 cells" in result.stdout
    assert sorted(os.listdir()) == ["a", "b"]


def test_results_folders_give_the_same_as_the_one_study_in_them(
    folders: tuple[Path, Path],
) -> None:
    assert call(*(folder.parent for folder in folders)).stdout == call(*folders).stdout


def test_files_are_written_where_asked_the_page_first(folders: tuple[Path, Path]) -> None:
    result = call(*folders, "--out", "out")
    assert result.stdout.splitlines()[-2:] == ["out/compare.html", "out/compare.md"]
    assert "Differences, B − A" in result.stdout
    assert call(*folders, "--format", "md").stdout == "compare.md\n"
    assert Path("compare.md").read_bytes() == Path("out/compare.md").read_bytes()


def test_json_is_one_document_with_the_differences(folders: tuple[Path, Path]) -> None:
    result = call(*folders, "--json", "--format", "md", "--out", "out")
    (study,), written = (json.loads(result.stdout)[name] for name in ("studies", "written"))
    means = [cell["mean"] for cell in study["cells"] if cell["metric"] == "nll_nats"]
    assert means == pytest.approx([0.25, 0.25])
    assert (study["pairs"], study["identical"], written) == (6, 0, ["out/compare.md"])


def test_wrong_input_is_one_line_and_exit_code_two(folders: tuple[Path, Path]) -> None:
    a, b = folders
    wrong = [(a, b, "--format", "pdf"), (a, "none"), (a, b.parent)]
    wrong.append((a, b, "--format", "text", "--out", "nowhere"))
    for arguments in wrong:
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1
        assert "allowed: " in result.stderr
    damaged = b / "runs" / f"{digest(RUNS[0])}.json"
    damaged.write_text("{")
    result = call(a, b)
    assert result.exit_code == 2
    assert f"{damaged}: not a whole record" in result.stderr
