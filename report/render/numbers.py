"""Numbers as a reader sees them: the digits follow the interval."""

import math

ABSENT = "–"
ROUNDING = 1e-9  # of a mean: an interval below it is rounding error, not spread


def shown(mean: float, half_width: float) -> str:
    """`−101.23 ± 0.45`: two significant digits of the interval decide; four without interval."""
    if math.isnan(mean):
        return ABSENT
    if half_width < ROUNDING * abs(mean):
        half_width = 0.0
    if math.isnan(half_width) or half_width == 0:
        text = rounded(mean, max(0, 3 - _exponent(mean)))
        return text if math.isnan(half_width) else f"{text} ± 0"
    digits = 1 - _exponent(half_width)
    return f"{rounded(mean, digits)} ± {rounded(half_width, digits)}"


def rounded(value: float, digits: int) -> str:
    """`value` to `digits` decimals (negative: tens, hundreds), with a true minus sign."""
    text = f"{round(value, digits):,.{max(digits, 0)}f}"
    return text.replace("-", "−")


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def detectable(value: float) -> str:
    """An error or a smallest detectable effect, to two significant digits."""
    return rounded(value, 1 - _exponent(value)) if value > 0 else "0"


def p_text(p: float) -> str:
    """`= 0.012`, or `< 0.001`."""
    if math.isnan(p):
        return f"= {ABSENT}"
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"
