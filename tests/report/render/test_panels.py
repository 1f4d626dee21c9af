"""Colours that everybody can tell apart, on a light page and on a dark one."""

from itertools import combinations

import numpy as np
import pytest
from luminance import linear, relative_luminance

from report.machine.ladder import BAR
from report.render.panels import MARKERS, PALETTE, style

PAPERS = ("#ffffff", "#16181b")
# Machado, Oliveira & Fernandes (2009, doi:10.1109/TVCG.2009.113), severity 1, in linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB, white of sRGB."""
    xyz = np.array(XYZ) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_no_two_colours_look_alike(blindness: str) -> None:
    seen = [lab(np.array(BLINDNESS[blindness]) @ linear(colour)) for colour in PALETTE]
    nearest = min(np.linalg.norm(a - b) for a, b in combinations(seen, 2))
    assert nearest > 10  # 2.3 is just noticeable


@pytest.mark.parametrize("paper", PAPERS)
def test_every_colour_stands_out_from_the_page(paper: str) -> None:
    for colour in (*PALETTE, BAR):
        dark, light = sorted((relative_luminance(colour), relative_luminance(paper)))
        assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 2.2, 1.4.11: graphical objects


def test_no_line_is_told_by_its_colour_alone() -> None:
    assert len(set(MARKERS)) == len(PALETTE)


def test_points_of_all_kinds_of_lines_differ_without_a_line() -> None:
    kinds = [style(0, dash) | {"linestyle": ""} for dash in range(3)]
    assert not any(a == b for a, b in combinations(kinds, 2))
