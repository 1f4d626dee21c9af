"""What the comparison of two sides found, tier by tier, before anybody words a verdict.

Statuses: "pass", "fail", "inconclusive", "skipped"; a finding may also be a "note", which decides
nothing, or "waived".
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.gate.side.harness import ADVISORY, OPERATORS
from bench.gate.statistics import CLOCK, CLOCKS, FAIL, INCONCLUSIVE, PASS, Series, judge
from bench.gate.waivers import Waiver, line

NOTE, WAIVED, SKIPPED = "note", "waived", "skipped"
IDENTITY = "identity"  # the tier of sources that are the same
BROKEN = "broken"  # the tier of a head that cannot be measured

Counts = Mapping[str, Mapping[str, int]]  # by benchmark and metric
Numerics = Mapping[str, Mapping[str, Any]]  # by training: values, sha256


class Finding(NamedTuple):
    """One line of the answer; `waiver` is the line that would accept it, or empty."""

    status: str
    text: str
    waiver: str = ""


class Tier(NamedTuple):
    """One tier's own verdict."""

    name: str
    status: str
    summary: str
    findings: list[Finding]


def worst(statuses: Iterable[str]) -> str:
    """The status of the whole."""
    found = set(statuses)
    return next((status for status in (FAIL, INCONCLUSIVE) if status in found), PASS)


def tier(name: str, summary: str, findings: Sequence[Finding]) -> Tier:
    """A tier is as bad as its worst finding."""
    return Tier(name, worst(f.status for f in findings), summary, list(findings))


def coverage(
    base: Iterable[str], head: Iterable[str], waivers: Sequence[Waiver], new: str = FAIL
) -> list[Finding]:
    """A failure for every benchmark or training that was measured of one side and not of the other;
    one that was removed on purpose has a waiver, and one of head alone the status `new`."""
    before, after = list(base), list(head)
    if not after:
        return [Finding(FAIL, "head has no benchmarks: nothing measured, nothing passed")]
    gone = [
        _worse_count(f"{name}.benchmarks", 1, 0, waivers) for name in before if name not in after
    ]
    added = (name for name in after if name not in before)
    return gone + [Finding(new, f"{name} is missing in base") for name in added]


def compare_counts(base: Counts, head: Counts, waivers: Sequence[Waiver]) -> Tier:
    """Any increase fails, unless a waiver names it; a decrease is a note."""
    findings = coverage(base, head, waivers)
    for benchmark in sorted(head.keys() & base.keys()):
        findings += _compare_benchmark(benchmark, base[benchmark], head[benchmark], waivers)
    metrics = sum(len(counts) for counts in head.values())
    return tier("counts", f"{metrics} counts of {len(head)} benchmarks", findings)


def _compare_benchmark(
    benchmark: str, base: Mapping[str, int], head: Mapping[str, int], waivers: Sequence[Waiver]
) -> Iterator[Finding]:
    for metric in sorted(base.keys() | head.keys()):
        name = f"{benchmark}.{metric}"
        # An operator that is not called is called 0 times; any other metric has to be there.
        default = 0 if metric.startswith(OPERATORS) else None
        before, after = base.get(metric, default), head.get(metric, default)
        if before is None or after is None:
            where = "base" if before is None else "head"
            yield Finding(FAIL, f"{name} is missing in {where}")
        elif before != after and metric in ADVISORY:
            yield Finding(NOTE, f"{name}: {before:,} -> {after:,} (advisory)")
        elif before > after:
            yield Finding(NOTE, f"{name}: {before:,} -> {after:,}")
        elif before < after:
            yield _worse_count(name, before, after, waivers)


def _worse_count(name: str, before: int, after: int, waivers: Sequence[Waiver]) -> Finding:
    accepted = [waiver for waiver in waivers if waiver.accepts_count(name, before, after)]
    return _worse(f"{name}: {before:,} -> {after:,}", accepted, line(name, before, after))


def _worse(text: str, accepted: Sequence[Waiver], offered: str) -> Finding:
    """A failure with the line that would accept it, unless a waiver has accepted it."""
    if accepted:
        return Finding(WAIVED, f"{text}: {accepted[0].why}")
    return Finding(FAIL, text, offered)


def compare_numerics(base: Numerics, head: Numerics, waivers: Sequence[Waiver]) -> Tier:
    """Bitwise equal, or the largest relative difference, which fails unless it is waived."""
    findings = coverage(base, head, waivers)
    for name in sorted(base.keys() & head.keys()):
        findings += _compare_training(f"numerics.{name}", base[name], head[name], waivers)
    unequal = {finding.text.partition(":")[0] for finding in findings if finding.status != NOTE}
    summary = f"{len(head) - len(unequal)} of {len(head)} trainings bitwise equal"
    return tier("numerics", summary, findings)


def _compare_training(
    name: str, base: Mapping[str, Any], head: Mapping[str, Any], waivers: Sequence[Waiver]
) -> Iterator[Finding]:
    before, after = base["values"], head["values"]
    if gone := sorted(before.keys() - after.keys()):
        change = (f"{name}.values", len(before), len(before) - len(gone))
        accepted = [waiver for waiver in waivers if waiver.accepts_count(*change)]
        text = f"{name}: {gone[0]} is missing in head ({len(gone)} in all)"
        yield _worse(text, accepted, line(*change))
    if new := sorted(after.keys() - before.keys()):
        yield Finding(NOTE, f"{name}: {new[0]} is new in head ({len(new)} in all)")
    sizes = {key: relative_difference(before[key], after[key]) for key in before if key in after}
    worst = max(sizes, key=lambda key: sizes[key], default="")
    size = sizes.get(worst, 0.0)
    if size == 0.0 and base["parameters_sha256"] == head["parameters_sha256"]:
        return
    where = f"{worst}: {before[worst]:.9g} -> {after[worst]:.9g}" if size else "in final parameters"
    text = f"{name}: not bitwise equal, largest relative difference {size:.1e} ({where})"
    accepted = [w for w in waivers if w.accepts_up_to(name, "equal", size)]
    offered = line(name, "equal", _rounded_up(size)) if math.isfinite(size) else ""
    yield _worse(text, accepted, offered)


def relative_difference(before: float, after: float) -> float:
    """|before - after| over the larger of them: 0 of equals, NaN equal to NaN, else infinite where
    one is not finite."""
    if before == after or (math.isnan(before) and math.isnan(after)):
        return 0.0
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.inf
    return abs(before - after) / max(abs(before), abs(after))


def _rounded_up(size: float) -> str:
    """A limit that holds `size`, in two digits."""
    return f"{size * 1.05 + 1e-16:.1e}"


def compare_times(series: Series, waivers: Sequence[Waiver]) -> Tier:
    """Every benchmark on every clock. Raises `ValueError` on fewer pairs than a verdict needs."""
    findings = []
    for (benchmark, on), found in judge(series).items():
        how = "screened" if found.p is None else f"p {found.p:.1g}"
        detail = f"error {found.error:.1%}, {how}, {found.pairs} pairs"
        text = f"{benchmark}: {CLOCK[on].title} {found.slowdown:+.1%} ({detail})"
        name, ratio = f"{benchmark}.{on}", 1 + found.slowdown
        accepted = [w for w in waivers if w.accepts_up_to(name, 1, ratio)]
        if found.status == FAIL or (found.status == INCONCLUSIVE and accepted):
            findings.append(_worse(text, accepted, line(name, 1, f"{ratio + 0.02:.2f}")))
        else:
            findings.append(Finding(NOTE if found.status == PASS else found.status, text))
    benchmarks = len({benchmark for benchmark, _ in series})
    return tier("time", f"{benchmarks} benchmarks on {len(CLOCKS)} clocks", findings)
