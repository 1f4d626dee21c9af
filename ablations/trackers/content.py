"""What a tracker is told of a record: a name, settings, tags, numbers by step, pictures."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from hvae.records.store import Record
from hvae.settings import SETTINGS, value
from hvae.tiles import Pixels

FORM = 1  # of what is exported; with another, what was exported before is replaced
RATES = {  # of a measurement of throughput -> its unit in the tracker
    "images_per_second": "images_per_second",
    "lower_quartile": "images_per_second_lower_quartile",
    "upper_quartile": "images_per_second_upper_quartile",
}


LEFT_OUT = "left_out"  # of a record's metrics: which are not there, and why
PLACE = ("device", "task", "engine")  # of a measurement; the first records do not say the engine


class Point(NamedTuple):
    """A finite number of a run. The step is the epoch in `train/…`, the draws S of an image in a
    curve of the NLL, and else 0."""

    name: str
    step: int
    number: float


@dataclass(frozen=True)
class TrackedRun:
    """One run as a tracker gets it; its pictures are sheets of grey pixels [H, W] by name."""

    name: str
    digest: str
    record_sha256: str
    is_diverged: bool
    settings: Mapping[str, str | int | float]
    tags: Mapping[str, str]
    points: tuple[Point, ...]
    pictures: Mapping[str, Pixels]


def tracked(record: Record, name: str, pictures: Mapping[str, Pixels]) -> TrackedRun:
    """A record as a tracker gets it. Raises `ValueError` where its numbers are none of a run."""
    try:
        points = tuple(point for point in _points(record) if math.isfinite(point.number))
        tags = _tags(record)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise ValueError(f"{record.digest}: not the numbers of a run ({fault})") from error
    return TrackedRun(
        name=name,
        digest=record.digest,
        record_sha256=record_sha256(record),
        is_diverged=record.status == "diverged",
        settings={setting: _plain(value(record.run, setting)) for setting in SETTINGS},
        tags=tags,
        points=points,
        pictures=pictures,
    )


def record_sha256(record: Record) -> str:
    """What tells a record from one of the same settings that other sources made."""
    canonical = json.dumps([FORM, asdict(record)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(setting: Any) -> str | int | float:
    """A setting as one value: sizes by level as 100-50, as on the command line."""
    plain: str | int | float = setting
    return "-".join(map(str, setting)) if isinstance(setting, tuple) else plain


def _tags(record: Record) -> dict[str, str]:
    """What made the record: everything that is there of code and environment, by its own name."""
    environment = {name: held for name, held in record.environment.items() if name != "flags"}
    made = {
        **record.code,
        **environment,
        **(record.environment.get("flags") or {}),
        **{f"{LEFT_OUT}/{name}": why for name, why in record.metrics.get(LEFT_OUT, {}).items()},
        "study": record.study,  # last: no name of another's hides what finds the run again
        "digest": record.digest,
        "status": record.status,
        "data_sha256": record.data_sha256,
    }
    return {name: str(held) for name, held in made.items() if held is not None}


def _points(record: Record) -> Iterator[Point]:
    yield Point("parameters", 0, float(record.parameters))
    yield Point("flops_per_image", 0, float(record.flops_per_image))
    for part, seconds in record.seconds.items():
        yield from _numbers(f"{part}_seconds", seconds, 0)
    for name, held in record.metrics.items():
        if name != LEFT_OUT:
            yield from _numbers(name, held, 0)
    for epoch in record.history:
        for name, held in epoch.items():
            if name != "epoch":
                yield from _numbers(f"train/{name}", held, int(epoch["epoch"]))
    yield from _rates(record)


def _rates(record: Record) -> Iterator[Point]:
    """Every measured rate and its quartiles, by where and what was timed."""
    for measured in record.throughput.get("measurements", ()):
        where = "/".join(str(measured[key]) for key in PLACE if key in measured)
        for rate, unit in RATES.items():
            name = f"throughput/{where}/batch_{measured['batch_size']}/{unit}"
            yield Point(name, 0, float(measured[rate]))


def _numbers(name: str, held: Any, step: int) -> Iterator[Point]:
    """The numbers of a metric: lists by level and unit count from 1, a curve has a step a number;
    what was no number is left out."""
    if isinstance(held, list):
        for position, item in enumerate(held, start=1):
            yield from _numbers(f"{name}/{position}", item, step)
    elif isinstance(held, dict):
        for samples, item in held.items():
            yield from _numbers(name, item, int(samples))
    elif held is not None:
        yield Point(name, step, float(held))
