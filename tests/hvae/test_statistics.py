"""hvae/statistics.py: Holm's adjustment by hand and by its properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvae.statistics import holm


def test_holm_matches_a_hand_worked_case() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4 to 1: 0.02, 0.03, 0.06, 0.04; running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, math.nan, 0.8])[0] == 1.0
    assert math.isnan(holm([0.9, math.nan])[1])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=20))
def test_holm_lies_between_the_raw_and_the_bonferroni_p(p_values: list[float]) -> None:
    adjusted = np.array(holm(p_values))
    raw = np.array(p_values)
    assert np.all(adjusted >= raw)
    assert np.all(adjusted <= np.minimum(raw * len(raw), 1.0) + 1e-15)
    order = np.argsort(raw)
    assert np.all(np.diff(adjusted[order]) >= 0)
