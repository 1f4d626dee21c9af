"""What the gate and the report both compute. Imports no torch."""

from collections.abc import Iterable

import numpy as np


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979) of one family; NaN stays NaN and is not counted."""
    values = np.asarray(list(p_values), dtype=float)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    scaled = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]
