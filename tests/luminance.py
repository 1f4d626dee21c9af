"""How bright a colour is."""

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb


def linear(colour: Any) -> np.ndarray:
    """sRGB as linear RGB."""
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def relative_luminance(colour: Any) -> float:
    """WCAG 2.2, from 0 to 1."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])
