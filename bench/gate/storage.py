"""Both sides of a comparison as two files in pytest-benchmark's own format.

`pytest-benchmark compare 0001 0002` reads them. That tool files by system and Python only, so two
GPUs would share a baseline, and a benchmark without one passes: hence a folder for every device,
and everything that is missing from a file is an error here.
"""

import json
import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pytest_benchmark.stats import Stats

from bench.gate.paired_timing import Pair, Pairs
from bench.gate.revisions import Revisions
from bench.gate.statistics import CLOCKS, Series
from hvae.processes import core_count
from hvae.records.files import overwrite


class Side(NamedTuple):
    """What was measured of one side."""

    counts: dict[str, dict[str, int]]  # by benchmark and metric
    numerics: dict[str, dict[str, Any]]  # by training


class Comparison(NamedTuple):
    """What a verdict is made of."""

    base: Side
    head: Side
    series: Series  # log ratios head / base, one a pair


def series_of(pairs: Pairs) -> dict[tuple[str, str], list[float]]:
    """Log ratios of the pairs by benchmark and clock."""
    return {
        (name, clock.name): [pair.log_ratio[clock.name] for pair in found]
        for name, found in pairs.items()
        for clock in CLOCKS
    }


def write(
    folder: Path, sides: tuple[Side, Side], pairs: Pairs, revisions: Revisions, device: str
) -> list[Path]:
    """Replace the two files of a device's folder, base first."""
    named = (
        ("0001_base", "base_seconds", revisions.base, False),
        ("0002_head", "head_seconds", revisions.head, revisions.is_dirty),
    )
    paths = []
    for (name, timed, commit, is_dirty), side in zip(named, sides, strict=True):
        document = {
            "machine_info": machine(device),
            "benchmarks": [
                _benchmark(benchmark, side.counts[benchmark], found, timed)
                for benchmark, found in pairs.items()
            ],
            "numerics": side.numerics,
            "datetime": datetime.now(UTC).isoformat(),
            "version": version("pytest-benchmark"),
            "commit_info": {"id": commit, "dirty": is_dirty, "project": "hvae", "branch": None},
        }
        for old in folder.glob(f"{name}_*.json"):
            old.unlink()
        paths.append(folder / f"{name}_{commit[:12]}.json")
        write_document(paths[-1], document)
    return paths


def _benchmark(
    name: str, counts: dict[str, int], pairs: Sequence[Pair], timed: str
) -> dict[str, Any]:
    stats, seconds = Stats(), [getattr(pair, timed) for pair in pairs]  # type: ignore[no-untyped-call]
    for value in seconds:
        stats.update(value)  # type: ignore[no-untyped-call]
    ratios = {clock.name: [pair.log_ratio[clock.name] for pair in pairs] for clock in CLOCKS}
    return {
        "group": "gate",
        "name": name,
        "fullname": f"bench/gate::{name}",
        "params": None,
        "param": None,
        "extra_info": {"counts": counts, "log_ratios": ratios},
        "options": {},
        "stats": stats.as_dict() | {"data": seconds, "iterations": 1},  # type: ignore[no-untyped-call]
    }


def machine(device: str) -> dict[str, Any]:
    """Whose times these are."""
    return {
        "device_name": device,
        "node": platform.node(),
        "machine": platform.machine(),
        "platform": platform.platform(),
        "cores": core_count(),
        "python_version": platform.python_version(),
        "torch_version": version("torch"),
    }


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    overwrite(path, json.dumps(document, indent=1).encode() + b"\n")


def read(base: Path, head: Path) -> Comparison:
    """What two files hold. Raises `ValueError` naming the one that is not whole, or where they are
    of two comparisons."""
    (before, of_base), (after, series) = map(_side, (base, head))
    if of_base != series:
        raise ValueError(f"{base}: not of one comparison with {head}; allowed: the two of one")
    return Comparison(before, after, series)


def _side(path: Path) -> tuple[Side, Series]:
    document = read_document(path)
    try:
        benchmarks = {entry["name"]: entry["extra_info"] for entry in document["benchmarks"]}
        counts = {name: dict(found["counts"]) for name, found in benchmarks.items()}
        series = {
            (name, clock.name): list(found["log_ratios"][clock.name])
            for name, found in benchmarks.items()
            for clock in CLOCKS
        }
        if not all(math.isfinite(value) for values in series.values() for value in values):
            raise ValueError("a ratio is not finite")
        return Side(counts, dict(document["numerics"])), series
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a whole file of the gate: {error!r}") from error


def read_document(path: Path) -> dict[str, Any]:
    """A JSON document from its file. Raises `ValueError` naming the file where it is damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged, not a whole JSON document ({error})") from error
