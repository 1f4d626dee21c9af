"""Numbers as a reader sees them: the digits follow the interval."""

import math
from collections.abc import Sequence
from statistics import median_low

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


def aligned(means: Sequence[float], half_widths: Sequence[float]) -> list[str]:
    """Numbers of one column, all to the digits that its median interval asks for; each as `shown`
    where none has an interval."""
    sure = [h for m, h in zip(means, half_widths, strict=True) if h > ROUNDING * abs(m)]
    if not sure:
        return [shown(*pair) for pair in zip(means, half_widths, strict=True)]
    digits = 1 - _exponent(median_low(sure))
    least = 10.0**-digits
    texts = []
    for mean, half in zip(means, half_widths, strict=True):
        width = 0.0 if half <= ROUNDING * abs(mean) else max(half, least)  # none is 0 by rounding
        text = ABSENT if math.isnan(mean) else rounded(mean, digits)
        has_width = not (math.isnan(mean) or math.isnan(half))
        texts.append(f"{text} ± {rounded(width, digits)}" if has_width else text)
    return texts


def rounded(value: float, digits: int) -> str:
    """`value` to `digits` decimals (negative: tens, hundreds), with a true minus sign."""
    text = f"{round(value, digits):z,.{max(digits, 0)}f}"  # z: no minus before a zero
    return text.replace("-", "−")


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def two_digits(value: float) -> str:
    """An error or a smallest detectable effect, to two significant digits."""
    return rounded(value, 1 - _exponent(value)) if value > 0 else "0"


def at_most(value: float) -> str:
    """A bound from above to two significant digits, never rounded down."""
    if not value > 0:
        return "0"
    digits = 1 - _exponent(value)
    return rounded(math.ceil(value * 10.0**digits - 1e-9) / 10.0**digits, digits)


def p_text(p: float) -> str:
    """`= 0.012`, or `< 0.001`; `< 0.05` where two digits would not tell."""
    if math.isnan(p):
        return f"= {ABSENT}"
    if p < 0.001:
        return "< 0.001"
    return "< 0.05" if p < 0.05 <= float(f"{p:.2g}") else f"= {p:.2g}"


def cell_text(value: float) -> str:
    """A value in a heat map: two decimals, one from 10 on; 0.00 below 0.005."""
    return rounded(value, 2 if abs(value) < 10 else 1) if abs(value) >= 0.005 else "0.00"


def counted(n: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def tie(text: str) -> str:
    """No line break inside `n = 5` or `1.5 ± 0.1`."""
    return text.replace("n = ", "n\xa0=\xa0").replace(" ± ", "\xa0±\xa0")


def count_text(value: float) -> str:
    """A mean count in a heat map: `2`, `5.5`."""
    return rounded(value, 1).removesuffix(".0")
