"""The forest of differences: which cells it shows, and what is filled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer
from two_sides import shifted, stored

from hvae.records.store import Record
from report.comparison.differences import compared
from report.comparison.figure import forest
from report.comparison.pairs import pairing
from report.data.contrasts import Family
from report.data.metrics import METRICS
from report.render.drawing import Drawing

pytestmark = pytest.mark.usefixtures("no_layout")


def scattered(made: Record) -> dict[str, Any]:
    """The first level helps, by more in each seed; the second moves less, and not clearly."""
    seed, depth = made.run.train.seed, made.run.model.num_layers
    return shifted(nll_nats=-2.0 - 0.01 * seed if depth == 1 else (1.0, -1.0, 0.5)[seed])(made)


@pytest.fixture
def family(tmp_path: Path) -> Family:
    found = compared(pairing(stored(tmp_path / "a"), stored(tmp_path / "b", scattered)))
    return found.families[METRICS["nll_nats"]]


def drawn(family: Family) -> Drawing:
    drawing = forest(family, "forest")
    assert drawing is not None
    return drawing


def rows(drawing: Drawing) -> list[str]:
    return [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]


def test_a_row_is_a_cell_filled_where_its_difference_is_found(family: Family) -> None:
    drawing = drawn(family)
    assert rows(drawing) == ["depth 1", "depth 2"]
    points = [c for c in drawing.figure.axes[0].containers if isinstance(c, ErrorbarContainer)]
    assert [point[0].get_markerfacecolor() == "none" for point in points] == [False, True]
    assert "largest" not in drawing.caption


def test_of_too_many_cells_those_that_differ_most_are_shown(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("report.comparison.figure.MOST_ROWS", 1)
    drawing = drawn(family)
    assert rows(drawing) == ["depth 1"]
    assert drawing.caption.endswith(" The 1 largest of 2 cells.")


def test_cells_of_one_name_are_rows_of_their_own(family: Family) -> None:
    first, second = family
    found = drawn((first, replace(second, held=first.held)))
    assert rows(found) == ["depth 1 (1)", "depth 1 (2)"]


def test_where_nothing_is_measured_there_is_no_forest() -> None:
    assert forest((), "forest") is None
