"""Whether paired times say that HEAD is slower. Units: log ratios head / base, one a pair.

Where nothing changed, base and head of a pair can be exchanged, so a ratio is symmetric about 0 and
the exact signed-rank test fails with probability at most `ALPHA`, for all benchmarks and clocks
together (Holm). The screen, of the first pairs where there are no more, can only turn a failure
into a pass. A regression needs size *and* significance; where the pairs scatter too much to see the
smallest effect that counts, or have that size and no significance, the verdict is "inconclusive",
never "pass".
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hvae.statistics import holm

ALPHA = 0.001
SCREEN_PAIRS = 6
FULL_PAIRS = 20
SCREEN_POSITIVE = 5  # of 6: with fewer, a slowdown that counts is unlikely
PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"

# Of a normal spread: standard deviation from the median absolute deviation, and the standard
# error of a median from that of a mean.
DEVIATION_OF_MAD = 1.4826
ERROR_OF_MEDIAN = math.sqrt(math.pi / 2)


class Clock(NamedTuple):
    """A clock and the smallest slowdown that counts on it; its limits are shares of that."""

    name: str
    smallest_effect: float
    title: str

    @property
    def screen_limit(self) -> float:
        return 0.6 * self.smallest_effect  # of effect and error: 1.5 % where 2.5 % count

    @property
    def largest_error(self) -> float:
        return 0.48 * self.smallest_effect  # 1.2 % where 2.5 % count


CLOCKS = (
    Clock("busy", 0.025, "processor time"),  # on a GPU the device's own clock
    Clock("wall", 0.10, "wall time"),  # sleep, locks, I/O; noisier, so only what is large
)
CLOCK = {clock.name: clock for clock in CLOCKS}

Key = tuple[str, str]  # benchmark, clock
Series = Mapping[Key, Sequence[float]]


class Judgement(NamedTuple):
    """What one benchmark says on one clock; `slowdown` is head / base - 1, `error` its robust
    standard error, `p` of the signed-rank test, None where the screen was enough."""

    status: str
    slowdown: float
    error: float
    p: float | None
    pairs: int


def robust_error(values: Sequence[float]) -> float:
    """Standard error of the median, from the median absolute deviation."""
    centre = statistics.median(values)
    mad = statistics.median(abs(value - centre) for value in values)  # scipy's takes 400 times it
    return ERROR_OF_MEDIAN * DEVIATION_OF_MAD * mad / math.sqrt(len(values))


def is_screened(values: Sequence[float], clock: Clock) -> bool:
    """Whether the first pairs are enough to pass: no sign of a slowdown, little scatter. Where the
    other clock asked for more, these count, too."""
    if len(values) != SCREEN_PAIRS:
        return False
    centre = statistics.median(values)
    is_small = centre < math.log1p(clock.screen_limit)
    is_few = sum(value > 0 for value in values) < SCREEN_POSITIVE
    is_mixed = is_few and centre < math.log1p(clock.smallest_effect)
    return (is_small or is_mixed) and robust_error(values) <= clock.screen_limit


def needs_more(series: Series) -> list[str]:
    """The benchmarks that the screen does not pass on some clock."""
    return sorted({name for (name, on), v in series.items() if not is_screened(v, CLOCK[on])})


def judge(series: Series) -> dict[Key, Judgement]:
    """The verdict on every benchmark and clock. Raises `ValueError` on fewer pairs than the
    screen needs: what was not measured cannot pass."""
    for (benchmark, clock), values in series.items():
        if len(values) < SCREEN_PAIRS:
            raise ValueError(
                f"{benchmark}: {len(values)} pairs on the {clock} clock; "
                f"allowed: {SCREEN_PAIRS} or more"
            )
    ps = {
        (name, on): 1.0 if is_screened(values, CLOCK[on]) else signed_rank_p(values)
        for (name, on), values in series.items()
    }
    adjusted = dict(zip(ps, holm(ps.values()), strict=True))
    return {
        key: _judgement(values, CLOCK[key[1]], ps[key], adjusted[key] <= ALPHA)
        for key, values in series.items()
    }


def _judgement(values: Sequence[float], clock: Clock, p: float, is_rejected: bool) -> Judgement:
    centre, error = statistics.median(values), robust_error(values)
    is_enough, counts = is_screened(values, clock), centre >= math.log1p(clock.smallest_effect)
    is_known = len(values) >= FULL_PAIRS and error <= clock.largest_error and not counts
    status = PASS
    if is_rejected and counts:
        status = FAIL
    elif not is_enough and not is_known:
        status = INCONCLUSIVE
    return Judgement(status, math.expm1(centre), error, None if is_enough else p, len(values))


def signed_rank_p(values: Sequence[float]) -> float:
    """One-sided exact p of Wilcoxon's signed-rank test that head is slower; 1 of equal sides."""
    from scipy.stats import wilcoxon  # half a second, which a hook of identical sources is spared

    moved = [value for value in values if value != 0.0]
    if not moved:
        return 1.0
    return float(wilcoxon(moved, alternative="greater", method="exact").pvalue)
