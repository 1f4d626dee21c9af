"""Both sides of a comparison as two files in pytest-benchmark's own format.

`pytest-benchmark compare 0001 0002` reads them. That tool files by system and Python only, so two
GPUs would share a baseline, and a benchmark without one passes: hence a folder for every device,
and everything that is missing from a file is an error here.
"""

import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pytest_benchmark.stats import Stats

from bench.gate.paired_timing import Pairs
from bench.gate.revisions import Revisions
from bench.gate.statistics import CLOCKS, Series
from hvae.records.files import overwrite

BASE, HEAD = "0001_base", "0002_head"


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
    seconds = {
        BASE: {name: [pair.base_seconds for pair in found] for name, found in pairs.items()},
        HEAD: {name: [pair.head_seconds for pair in found] for name, found in pairs.items()},
    }
    named = (
        (BASE, sides[0], revisions.base, False),
        (HEAD, sides[1], revisions.head, revisions.is_dirty),
    )
    ratios = series_of(pairs)
    paths = []
    for name, side, commit, is_dirty in named:
        document = _document(side, seconds[name], device) | {
            "commit_info": {"id": commit, "dirty": is_dirty, "project": "hvae", "branch": None}
        }
        if name == HEAD:
            for entry in document["benchmarks"]:
                own = {clock.name: ratios[entry["name"], clock.name] for clock in CLOCKS}
                entry["extra_info"]["log_ratios"] = own
        for old in folder.glob(f"{name}_*.json"):
            old.unlink()
        paths.append(folder / f"{name}_{commit[:12]}.json")
        replace(paths[-1], document)
    return paths


def replace(path: Path, document: dict[str, Any]) -> None:
    """Write a document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    overwrite(path, json.dumps(document, indent=1).encode() + b"\n")


def read(base: Path, head: Path) -> Comparison:
    """What two files hold. Raises `ValueError` naming the file and what is wrong with it."""
    documents = [_benchmarks(path) for path in (base, head)]
    sides = [_side(path, found) for path, found in zip((base, head), documents, strict=True)]
    series = {}
    for entry in documents[1]["benchmarks"]:
        ratios = entry["extra_info"].get("log_ratios")
        if not isinstance(ratios, dict):
            raise ValueError(f"{head}: benchmark {entry['name']!r} has no paired times")
        for clock in CLOCKS:
            series[entry["name"], clock.name] = _numbers(head, entry["name"], ratios, clock.name)
    return Comparison(sides[0], sides[1], series)


def _document(side: Side, seconds: Mapping[str, list[float]], device: str) -> dict[str, Any]:
    return {
        "machine_info": machine(device),
        "benchmarks": [
            {
                "group": "gate",
                "name": name,
                "fullname": f"bench/gate::{name}",
                "params": None,
                "param": None,
                "extra_info": {"counts": side.counts[name]},
                "options": {},
                "stats": _stats(values),
            }
            for name, values in seconds.items()
        ],
        "numerics": side.numerics,
        "datetime": datetime.now(UTC).isoformat(),
        "version": version("pytest-benchmark"),
    }


def machine(device: str) -> dict[str, Any]:
    """Whose times these are."""
    return {
        "device_name": device,
        "node": platform.node(),
        "machine": platform.machine(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "python_version": platform.python_version(),
        "torch_version": version("torch"),
    }


def _stats(seconds: list[float]) -> dict[str, Any]:
    stats = Stats()  # type: ignore[no-untyped-call]
    for value in seconds:
        stats.update(value)  # type: ignore[no-untyped-call]
    found: dict[str, Any] = stats.as_dict()  # type: ignore[no-untyped-call]
    return found | {"data": seconds, "iterations": 1}


def load(path: Path) -> dict[str, Any]:
    """A JSON document from its file. Raises `ValueError` naming the file where it is damaged."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: damaged, not a whole JSON document ({error})") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: not a JSON document of the gate")
    return document


def _benchmarks(path: Path) -> dict[str, Any]:
    document = load(path)
    if not isinstance(document.get("benchmarks"), list):
        raise ValueError(f"{path}: not a file of benchmarks")
    if not document["benchmarks"]:
        raise ValueError(f"{path}: holds no benchmark: nothing measured, nothing passed")
    return document


def _side(path: Path, document: dict[str, Any]) -> Side:
    counts = {}
    for entry in document["benchmarks"]:
        try:
            name, found = str(entry["name"]), entry["extra_info"]["counts"]
            _numbers(path, name, entry["stats"], "data")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: a benchmark lacks its {error}") from error
        if not isinstance(found, dict) or not found or name in counts:
            raise ValueError(f"{path}: benchmark {name!r} has no counts, or is there twice")
        counts[name] = found
    numerics = document.get("numerics")
    if not isinstance(numerics, dict) or not numerics:
        raise ValueError(f"{path}: holds no numerics")
    return Side(counts, numerics)


def _numbers(path: Path, benchmark: str, values: Mapping[str, Any], key: str) -> list[float]:
    """A list of finite numbers with something in it."""
    found = values.get(key)
    if not isinstance(found, list) or not found:
        raise ValueError(f"{path}: benchmark {benchmark!r} is empty: it has no {key}")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in found):
        raise ValueError(f"{path}: benchmark {benchmark!r} holds no numbers in {key}")
    return found
