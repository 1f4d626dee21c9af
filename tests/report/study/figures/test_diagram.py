"""Where the code of the deepest models lies."""

import math
from itertools import combinations
from typing import Any

import pytest
from builders import design, filled, study_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.design import Design
from report.render.drawing import no_wider_than
from report.study.figures.diagram import LARGEST_AREA, LEAST_AREA, diagram


def kl(run: RunConfig) -> dict[str, Any]:
    by_level = [8.0, 2.0, 0.001][: run.model.num_layers]
    units = [20, 5, 0][: run.model.num_layers]
    return {"metrics": {"kl_per_level_nats": by_level, "active_units_per_level": units}}


def test_a_circle_is_as_large_as_the_kl_of_its_level_and_hollow_where_dead(store: Store) -> None:
    study = filled(store, design({"depth": (2, 3), "objective": ("documented", "elbo")}), kl)
    drawing = diagram(study)
    (axes,) = drawing.figure.axes
    circles = [c for c in axes.collections if isinstance(c, PathCollection)]
    sizes = [float(circle.get_sizes()[0]) for circle in circles]
    assert sizes == pytest.approx(2 * [LARGEST_AREA, LARGEST_AREA / 4, LEAST_AREA])
    assert [len(circle.get_facecolor()) for circle in circles] == 2 * [1, 1, 0]
    texts = [text.get_text() for text in axes.texts]
    assert {"documented", "ELBO", "8.00, 20 units", "2.00, 5 units", "0.00, 0 units"} <= set(texts)
    assert drawing.caption.startswith("Depth 3, mean over seeds (n = 3)")


@pytest.mark.parametrize("inches", [math.inf, 6.9, 3.4])
@pytest.mark.parametrize("name", ["documented", "mmm", "a variant whose name is rather long, ii"])
def test_every_word_is_inside_the_figure_and_on_no_other(
    name: str, inches: float, store: Store
) -> None:
    variants = {name: {}, "b": {"objective": "elbo"}}
    study = filled(store, design({"depth": (3,)}, variants), kl)
    with no_wider_than(inches):
        drawing = diagram(study)
    figure = drawing.figure
    assert figure.get_figwidth() <= inches
    renderer = FigureCanvasAgg(figure).get_renderer()
    whole = figure.bbox
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = {text: text.get_window_extent(renderer) for text in texts}
    for text, box in boxes.items():
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1, text.get_text()
    assert not any(a.overlaps(b) for a, b in combinations(boxes.values(), 2))


def test_cells_that_are_left_out_are_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("report.study.figures.diagram.MOST_ROWS", 2)
    drawing = diagram(filled(store, design({"depth": (2,), "latent": (2, 5, 20)}), kl))
    assert drawing.caption.startswith("The first 2 of 3 cells. Depth 2, ")


def test_without_levels_there_is_no_diagram(store: Store) -> None:
    assert diagram(study_of(store, Design("none", "", ()))) is None
