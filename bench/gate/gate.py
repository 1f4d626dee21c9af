"""The gate: is HEAD slower, heavier or numerically other than its base? Tier by tier, cheapest
first; what fails before the clock is asked is not timed.

Base and head are measured in the same environment, at the same time, by the same harness. Nothing
is compared with a stored number.
"""

import random
import time
from pathlib import Path
from typing import NamedTuple

from bench.gate import storage, waivers
from bench.gate.paired_timing import Pairs, Progress, time_pairs
from bench.gate.revisions import (
    Layout,
    Revisions,
    committed,
    constraints,
    declared,
    laid_out,
    resolve,
    sources_digest,
)
from bench.gate.side.harness import BENCHMARKS, CONSTRAINTS, TRAININGS
from bench.gate.sides import CannotMeasure, Sides, measure_exactly
from bench.gate.statistics import FAIL, FULL_PAIRS, INCONCLUSIVE, PASS, SCREEN_PAIRS, needs_more
from bench.gate.storage import Side
from bench.gate.tiers import (
    BROKEN,
    IDENTITY,
    NOTE,
    SKIPPED,
    Finding,
    Tier,
    compare_counts,
    compare_numerics,
    compare_times,
    coverage,
    tier,
    worst,
)
from bench.gate.waivers import Waiver
from hvae.records.files import prove_writable

EXIT_CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}


class Device(NamedTuple):
    """Where it is measured, and the folder of that device for the two files, if they are kept."""

    kind: str  # cpu or cuda
    name: str
    folder: Path | None = None


class Outcome(NamedTuple):
    """The verdict of the gate; no revisions where it was read from files."""

    tiers: list[Tier]
    seconds: float
    files: list[Path]
    revisions: Revisions | None = None
    device_name: str = ""

    @property
    def status(self) -> str:
        return worst(tier.status for tier in self.tiers)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.status]


def compare(
    root: Path, base: str | None, device: Device, progress: Progress = lambda what: None
) -> Outcome:
    """HEAD against its merge-base with `base`; against itself, through every tier, where None.

    Raises `ValueError` where there is nothing to compare with.
    """
    started = time.monotonic()
    revisions = resolve(root, base)
    accepted = waivers.in_force(
        committed(root, revisions.base, waivers.FILE), committed(root, revisions.head, waivers.FILE)
    )
    files: list[Path] = []
    with laid_out(root, None if base is None else revisions.base) as layout:
        digests = {sources_digest(tree) for tree in (layout.base_tree, layout.head_tree)}
        if base is not None and len(digests) == 1:
            same = "measured sources are identical: not timed"
            tiers = [Tier(IDENTITY, PASS, same, _dependencies(layout))]
        else:
            if device.folder is not None:
                prove_writable(device.folder)
            tiers, sides = _exactly(layout, device, accepted, progress)
            if worst(tier.status for tier in tiers) == PASS:
                try:
                    pairs = time_adaptively(layout.sides, device.kind, progress)
                except CannotMeasure as error:
                    tiers.append(_broken(error, layout))
                else:
                    tiers.append(compare_times(storage.series_of(pairs), accepted))
                    if device.folder is not None:
                        files = storage.write(device.folder, sides, pairs, revisions, device.name)
            else:
                tiers.append(Tier("time", SKIPPED, "not asked: it has failed already", []))
    return Outcome(tiers, time.monotonic() - started, files, revisions, device.name)


def rejudge(base: Path, head: Path) -> Outcome:
    """The verdict on two files that the gate wrote, waivers left aside. Raises `ValueError` where
    they are damaged."""
    found = storage.read(base, head)
    tiers = [
        compare_numerics(found.base.numerics, found.head.numerics, []),
        compare_counts(found.base.counts, found.head.counts, []),
        compare_times(found.series, []),
    ]
    return Outcome(tiers, 0.0, [base, head])


def time_adaptively(sides: Sides, device: str, progress: Progress) -> Pairs:
    """The few pairs of the screen for every benchmark; all pairs for those it does not pass."""
    lot = random.Random()
    pairs = time_pairs(sides, BENCHMARKS, SCREEN_PAIRS, device, lot, progress)
    doubtful = needs_more(storage.series_of(pairs))
    if doubtful:
        more = time_pairs(sides, doubtful, FULL_PAIRS - SCREEN_PAIRS, device, lot, progress)
        pairs |= {name: pairs[name] + more[name] for name in doubtful}
    return pairs


def _dependencies(layout: Layout) -> list[Finding]:
    """A note where the sides were to run other libraries than each other."""
    if constraints(layout.base_tree) == constraints(layout.head_tree):
        return []
    blind = "both sides run the libraries installed here: what other versions cost is not seen"
    return [Finding(NOTE, f"{CONSTRAINTS} differs, but {blind}")]


def _exactly(
    layout: Layout, device: Device, accepted: list[Waiver], progress: Progress
) -> tuple[list[Tier], tuple[Side, Side]]:
    """The tiers that need no clock. Raises `CannotMeasure` where the base is to blame."""
    progress("numerics and counts")
    expected = [*BENCHMARKS, *TRAININGS]
    names = coverage(declared(layout.base_tree), expected, accepted, new=NOTE)
    try:
        base, head = (Side(**side) for side in measure_exactly(layout.sides, device.kind))
    except CannotMeasure as error:
        return [_broken(error, layout)], (Side({}, {}), Side({}, {}))
    names += coverage(expected, [*head.counts, *head.numerics], [])
    names += _dependencies(layout)
    tiers = [
        tier("coverage", f"{len(BENCHMARKS)} benchmarks, {len(TRAININGS)} trainings", names),
        compare_numerics(base.numerics, head.numerics, accepted),
        compare_counts(base.counts, head.counts, accepted),
    ]
    return tiers, (base, head)


def _broken(error: CannotMeasure, layout: Layout) -> Tier:
    """The tier of a head that cannot be measured. Raises the error where the base is to blame."""
    if error.side != layout.sides.head.name:
        raise error
    return Tier(BROKEN, FAIL, str(error), [])
