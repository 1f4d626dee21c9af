"""The gate tried on itself: HEAD against HEAD, where every failure is a false alarm, and against
HEAD with work planted in its training step, where everything but a failure is a miss.

The record is one JSON file for each kind of trial, device and load. It grows by a trial at a time,
so that an interrupted series goes on where it was.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.gate.gate import Device, compare, time_adaptively
from bench.gate.paired_timing import Progress
from bench.gate.planted import plant, rows_for
from bench.gate.revisions import laid_out, resolve, sources_digest
from bench.gate.side.harness import CONSTRAINTS
from bench.gate.statistics import FAIL, INCONCLUSIVE, PASS
from bench.gate.storage import machine, read_document, series_of, write_document
from bench.gate.tiers import BROKEN, Tier, compare_times, worst
from hvae.processes import usable_cores
from hvae.records.files import prove_writable

CONFIDENCE = 0.95  # of one-sided bounds
JUDGES = tuple(
    f"bench/gate/{name}.py"
    for name in ("gate", "tiers", "sides", "paired_timing", "statistics", "planted", "revisions")
)

Document = dict[str, Any]


class Plan(NamedTuple):
    """`percent` of the training step's time planted, 0 for HEAD against itself; trials in all."""

    percent: float
    is_under_load: bool
    repeats: int


def run(
    root: Path,
    plan: Plan,
    device: Device,
    file: Path,
    report: Callable[[str], None],
    progress: Progress = lambda what: None,
) -> Document:
    """Trials up to `plan.repeats`, those of the same sources in the file counted in; what the file
    then holds. `report` gets a line a trial."""
    document = _opened(file, root, plan, device)
    trials = document["trials"]
    if len(trials) >= plan.repeats:
        more = f"--repeat {len(trials) + 1} adds one"
        report(f"{len(trials)} trials are recorded already, none is run now; {more}")
    with _load(plan.is_under_load):
        rows = None
        if plan.percent and len(trials) < plan.repeats:
            rows = rows_for(root, plan.percent, device.kind, progress)
        while len(trials) < plan.repeats:
            trials.append(_trial(root, rows, device, progress))
            document |= summary(trials, plan.percent > 0)
            write_document(file, document)
            report(_line(trials, plan))
    return document


def summary(trials: list[Document], is_planted: bool) -> Document:
    """How many failed, how many said nothing, and the Clopper-Pearson bound of the rate of
    failures: from above on false alarms, from below on what was caught."""
    from scipy.stats import binomtest  # as late as in `statistics`

    failed = sum(trial["verdict"] == FAIL for trial in trials)
    tested = binomtest(failed, len(trials), alternative="greater" if is_planted else "less")
    interval = tested.proportion_ci(CONFIDENCE, "exact")
    return {
        "repeats": len(trials),
        "caught" if is_planted else "false_alarms": failed,
        "inconclusive": sum(trial["verdict"] == INCONCLUSIVE for trial in trials),
        "bound": float(interval.low if is_planted else interval.high),
        "confidence": CONFIDENCE,
    }


def verdict(document: Document) -> str:
    """Of the gate itself: a pass is no false alarm, of planted slowdowns nine in ten found; it is
    inconclusive where every trial was."""
    if document["planted_percent"]:
        return PASS if document["caught"] >= 0.9 * document["repeats"] else FAIL
    if document["false_alarms"]:
        return FAIL
    return INCONCLUSIVE if document["inconclusive"] == document["repeats"] else PASS


def closing(document: Document) -> str:
    """The record in a line."""
    repeats, load = document["repeats"], " under load" if document["is_under_load"] else ""
    outwards = math.floor if document["planted_percent"] else math.ceil  # so it stays a bound
    bound = f"{document['confidence']:.0%} bound {outwards(1000 * document['bound']) / 10:.1f}%"
    if percent := document["planted_percent"]:
        found = f"caught {document['caught']} of {repeats} slowdowns of {percent:g} %{load}"
        bound = f"at least, {bound}"
    else:
        found = f"{document['false_alarms']} false alarms in {repeats} trials{load}"
        bound = f"at most, {bound}"
    return f"{found} ({bound}); {document['inconclusive']} inconclusive"


def _trial(root: Path, rows: int | None, device: Device, progress: Progress) -> Document:
    """Every tier of HEAD against itself; of planted work the clock's verdict alone, because the
    counts would see it at once."""
    started = time.monotonic()
    if rows is None:
        tiers = compare(root, None, device, progress).tiers
    else:
        tiers = [_planted_time(root, rows, device, progress)]
    if broken := [tier.summary for tier in tiers if tier.name == BROKEN]:
        raise ValueError(f"trial: {broken[0]}")  # of the same sources: no false alarm
    statuses = {tier.name: tier.status for tier in tiers}
    return {
        "verdict": worst(statuses.values()),
        "seconds": round(time.monotonic() - started, 1),
        "tiers": statuses,
        "planted_rows": rows,
        "findings": [finding.text for tier in tiers for finding in tier.findings],
    }


def _planted_time(root: Path, rows: int, device: Device, progress: Progress) -> Tier:
    with laid_out(root, None) as layout:
        plant(layout.sides.head, rows)
        pairs = time_adaptively(layout.sides, device.kind, progress)
    return compare_times(series_of(pairs), [])


def _line(trials: list[Document], plan: Plan) -> str:
    last = trials[-1]
    times = "; ".join(last["findings"])
    return f"{len(trials)} of {plan.repeats}: {last['verdict']} ({last['seconds']:.0f} s) {times}"


def _opened(file: Path, root: Path, plan: Plan, device: Device) -> Document:
    """The file's record where it is of the same sources, else a new one; the old is kept."""
    sources = sources_digest(root, (CONSTRAINTS, *JUDGES))
    prove_writable(file.parent)
    if file.exists():
        found = read_document(file)
        if found.get("sources_sha256") == sources:
            return found
        _keep(file, f"{file.stem}-{found.get('commit', 'old')[:12]}")
    revisions = resolve(root, None)
    return {
        "planted_percent": plan.percent,
        "is_under_load": plan.is_under_load,
        "commit": revisions.head,
        "is_dirty": revisions.is_dirty,
        "sources_sha256": sources,
        "machine": machine(device.name),
        "trials": [],
    }


def _keep(file: Path, name: str) -> None:
    """Rename a file, to another name than any that is there."""
    kept, number = file.with_name(f"{name}.json"), 1
    while kept.exists():
        number += 1
        kept = file.with_name(f"{name}-{number}.json")
    file.replace(kept)


@contextmanager
def _load(is_under_load: bool) -> Iterator[None]:
    """A process that keeps one core busy meanwhile."""
    if not is_under_load:
        yield
        return
    core = usable_cores()[-1]
    pin = f"import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {{{core}}})"
    spin = f"while os.getppid() == {os.getpid()}: pass"  # not on, should this process be killed
    hog = subprocess.Popen([sys.executable, "-c", f"{pin}\n{spin}"])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()
