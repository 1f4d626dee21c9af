"""The figure of what a model-step costs: measured points, and the line in proportion to FLOPs."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from report.machine.scaling import scaling


def cost(value: int, milliseconds: float, megaflop: float) -> dict[str, Any]:
    spread = {
        "median": milliseconds,
        "lower_quartile": 0.9 * milliseconds,
        "upper_quartile": 1.2 * milliseconds,
    }
    return {
        "value": value,
        "milliseconds_per_model_step": spread,
        "flop_per_model_step": 1e6 * megaflop,
    }


@pytest.fixture
def panels() -> dict[str, Axes]:
    document = {
        "axes": {
            "depth": [cost(1, 1.0, 50), cost(2, 2.5, 60)],
            "processes": [cost(1, 2.0, 60), cost(2, 1.2, 60)],
        }
    }
    return dict(zip(document["axes"], scaling(document).axes, strict=True))


def test_every_value_is_a_point_at_its_median(panels: dict[str, Axes]) -> None:
    _, measured, *_ = panels["depth"].lines
    assert measured.get_xydata() == pytest.approx(np.array([[1, 1.0], [2, 2.5]]))


def test_the_dashed_line_is_in_proportion_to_the_flops_or_to_the_workers(
    panels: dict[str, Axes],
) -> None:
    by_depth, by_workers = (panels[name].lines[0].get_ydata() for name in panels)
    assert by_depth == pytest.approx([2.5 * 50 / 60, 2.5])
    assert by_workers == pytest.approx([2.0, 1.0])
