"""Where panels stand in a figure, and what words stand between them."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from report.data.factors import Factor
from report.render.drawing import Drawing, error_lines, facets, no_wider_than, picture, row_names
from report.render.panels import Layout

PANELS = Factor("panel", "", "", tuple(f"panel {letter}\nsecond line" for letter in "abcde"))


def drawn(is_shared: bool, panels: int = 5) -> Figure:
    """Panels with ticks as long as they come, and a legend of two lines."""
    names = PANELS.values[:panels]
    frame = pd.DataFrame(
        {"panel": pd.Categorical(names, names), "scale": 10.0 ** np.arange(panels)}
    )

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        for label in ("one", "another"):
            axes.plot([0, 1], [0, -1234567 * part["scale"].iloc[0]], label=label)

    layout = Layout((), (PANELS,), is_shared)
    return facets(frame, layout, draw, "across", "a label of more words than fit into one line")


def boxes(figure: Figure) -> list[Any]:
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    everything = [*figure.axes, *figure.legends]
    return [part.get_tightbbox(renderer) for part in everything]


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("panels", [1, 2, 5])
def test_nothing_overlaps_and_nothing_leaves_the_figure(is_shared: bool, panels: int) -> None:
    figure = drawn(is_shared, panels)
    for box in (found := boxes(figure)):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    assert len(found) == panels + 1
    assert not any(a.overlaps(b) for a, b in combinations(found, 2))


@pytest.mark.parametrize("inches", [3.4, math.inf])
@pytest.mark.parametrize("panels", [1, 2])
def test_long_names_of_rows_leave_the_panels_room(panels: int, inches: float) -> None:
    names = ["documented → learned variance, top-down, latent size 20, " * 2, "b"]
    frame = pd.DataFrame({"panel": pd.Categorical(PANELS.values[:panels], PANELS.values[:panels])})
    with no_wider_than(inches):
        texts, row_inches = row_names(names, panels)

        def draw(axes: Axes, part: pd.DataFrame) -> None:
            axes.set_yticks([0, 1], texts)
            axes.set_ylim(1.5, -0.5)

        layout = Layout((), (PANELS,), is_shared=True)
        figure = facets(frame, layout, draw, "difference", "", 1.1 + 2 * row_inches)
    assert all(axes.get_position().width * figure.get_figwidth() > 0.8 for axes in figure.axes)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    first, second = (
        label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()
    )
    assert not first.overlaps(second)
    assert texts[0].replace("\n", " ") == names[0].strip()


def test_labels_of_near_values_are_left_out_but_for_the_last() -> None:
    known = Factor("x", "x", "x", (0.0, 0.001, 0.01, 0.1, 1.0), is_ordered=True)
    rows = [{"x": value, "mean": 1.0, "lower": 0.9, "upper": 1.1} for value in known.values]
    frame = pd.DataFrame(rows)
    figure = Figure(figsize=(5, 3))
    axes = figure.subplots()
    error_lines(axes, Layout((), (), is_shared=True), frame, known)
    shown = [label for label in axes.get_xticklabels() if label.get_text()]
    assert [label.get_text() for label in shown] == ["0.0", "0.1", "1.0"]
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    ends = [label.get_window_extent(renderer) for label in shown]
    assert not any(a.overlaps(b) for a, b in combinations(ends, 2))


def test_of_too_many_panels_the_first_are_shown_and_the_caption_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert picture(Drawing("a", "b", "c.", drawn(True)), ()).caption == "c."
    monkeypatch.setattr("report.render.drawing.MOST_PANELS", 3)
    figure = drawn(is_shared=True)
    assert [axes.get_title()[:7] for axes in figure.axes] == ["panel a", "panel b", "panel c"]
    assert picture(Drawing("a", "b", "c.", figure), ()).caption == (
        "c. The first 3 of 5 panels: narrow the study, as by --depth or --latent, to see others."
    )


def test_all_panels_have_one_size_and_the_margins_are_no_wider_than_needed() -> None:
    figure = drawn(is_shared=False)
    sizes = {tuple(np.round(axes.bbox.size, 6)) for axes in figure.axes}
    assert len(sizes) == 1
    assert min(box.x0 for box in boxes(figure)) < 0.15 * figure.dpi
    ((width, _),) = sizes
    assert 3 * width > 0.5 * figure.bbox.width  # three columns
