"""`hvae export`: one line says what was exported where; the results stay as they are."""

from pathlib import Path

import pytest
from builders import record
from click.testing import CliRunner
from hostile import files_under

from ablations.cli.main import main
from ablations.grid import runs
from ablations.presets import PRESETS
from ablations.studies import narrow
from hvae.records.store import Store

RUNS = runs(narrow(PRESETS["quick"], {"loss": ("bce",), "latent": (2,)}, seeds=1))


@pytest.mark.tensorboard
def test_options_narrow_what_is_exported_and_the_results_stay_as_they_are(tmp_path: Path) -> None:
    store = Store(tmp_path / "results" / "quick")
    store.open_for_writing()
    for run in RUNS:
        store.write(record(run))
    before, to = files_under(store.folder), f"tensorboard:{tmp_path / 'board'}"
    command = ["export", "quick", "--depth", "1", "--results", str(store.folder.parent), "--to", to]
    for written, present in ((1, 0), (0, 1)):
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        runs = "run" if written == 1 else "runs"
        line = f"quick: {written} {runs} exported, {present} there already, in {to}\n"
        assert (result.exit_code, result.stdout) == (0, line), result.output
    assert files_under(store.folder) == before
    assert len(list((tmp_path / "board/quick").iterdir())) == 1


@pytest.mark.parametrize(
    ("to", "told"),
    [([], "Missing option '--to'"), (["--to", "tensorboard:x"], "no record of these runs")],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    tmp_path: Path, to: list[str], told: str
) -> None:
    result = CliRunner().invoke(main, ["export", "quick", "--results", str(tmp_path), *to])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert told in line
    assert not any(tmp_path.iterdir())
