"""What paired records differ in: nats of each cell, seconds as ratios, and how they were made."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hvae.config import RunConfig
from hvae.records.store import Record
from hvae.settings import digest, override, value
from report.comparison.pairs import Pair, Pairing
from report.data.contrasts import Contrast, Family, Step, adjusted, test_set_error
from report.data.factors import Factor
from report.data.frames import by_image
from report.data.metrics import COMMON, DATA, IMAGES, METRICS, OWN, PER_SECOND, TASKS, Metric
from report.data.rows import made_by, number, own_rates
from report.data.statistics import Floats, estimate
from report.study.provenance import MADE

STEP = Step(Factor("side", "side", "side", ("A", "B")), "A", "B")
ACTIVE = Metric("active_units", "active units", within=IMAGES)  # of all levels
DETAILS = [METRICS[name] for name in ("elbo_nats", "reconstruction_nats", "rate_nats")]
ALL = tuple(dict.fromkeys([*OWN, *COMMON, *DETAILS, ACTIVE]))
SECONDS = {"train": "training, seconds", "evaluate": "evaluation, seconds"}
FACTS = {name: label for name, label in MADE.items() if name != "flags"}  # each for itself
TIMED = ("device_name", "device", "threads", "torch", "engine", "pack_size")  # decide the seconds
UNKNOWN = "not recorded"
FAULTS = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


class Ratio(NamedTuple):
    """B over A of a cost or a rate: quartiles over `n` pairs."""

    what: str
    n: int
    lower: float
    median: float
    upper: float


class Fact(NamedTuple):
    """How the records of A and of B were made, and in how many pairs that differs."""

    name: str
    label: str
    a: str
    b: str
    differing: int


@dataclass(frozen=True)
class Comparison:
    """All that is known of a pairing. `families`: the contrasts B − A of every cell by metric, the
    one that speaks for all first; `incomparable`: metrics that mean something else on the other
    side; `identical`: pairs whose metrics are equal bit for bit; `without`: pairs without them.
    """

    pairing: Pairing
    families: Mapping[Metric, Family]
    incomparable: tuple[Metric, ...]
    identical: int
    without: int
    ratios: tuple[Ratio, ...]
    facts: tuple[Fact, ...]

    @property
    def is_unchanged(self) -> bool:
        """Whether all metrics of all pairs are equal."""
        return self.identical == len(self.pairing.pairs)

    def differs(self, names: Iterable[str]) -> list[Fact]:
        """Those of the named facts in which a pair differs."""
        return [fact for fact in self.facts if fact.name in names and fact.differing]


def compared(pairing: Pairing) -> Comparison:
    """The comparison. Raises `ValueError` naming a record that does not hold the numbers of a
    run."""
    rows = [tuple(map(_numbers, pair)) for pair in pairing.pairs]
    names = dict.fromkeys(name for row in rows for side in row for name in side)
    columns = {
        n: np.array([[side.get(n, math.nan) for side in row] for row in rows]).T for n in names
    }
    held = [m for m in ALL if not np.isnan(columns[m.name]).any(0).all()]
    fitting = [metric for metric in held if _changed(pairing).isdisjoint(metric.within)]
    return Comparison(
        pairing,
        _families(pairing, fitting, columns),
        tuple(metric for metric in held if metric not in fitting),
        sum(map(is_identical, pairing.pairs)),
        sum(not (a.status == b.status == "finished") for a, b in pairing.pairs),
        tuple(_ratios(columns)),
        tuple(_facts(pairing.pairs)),
    )


def _changed(pairing: Pairing) -> set[str]:
    """The settings in which the sides differ; other images are other data, whatever they are
    called."""
    is_other = any(a.data_sha256 != b.data_sha256 for a, b in pairing.pairs)
    return ({*pairing.differing} - {*DATA}) | {*(DATA if is_other else ())}


def is_identical(pair: Pair) -> bool:
    """Whether all metrics that both records have, of which there are some, are equal, bit for bit,
    and they end alike."""
    names = pair.a.metrics.keys() & pair.b.metrics.keys()
    a, b = (json.dumps([side.metrics[name] for name in sorted(names)]) for side in pair)
    return bool(names) and a == b and pair.a.status == pair.b.status


def _numbers(record: Record) -> dict[str, float]:
    try:
        active = record.metrics.get("active_units_per_level")
        metrics = {metric.name: number(record, metric.name) for metric in ALL}
        metrics[ACTIVE.name] = math.nan if active is None else sum(active)
        seconds = {f"{name}_seconds": record.seconds.get(name) for name in SECONDS}
        if record.status != "finished":
            metrics = dict.fromkeys(metrics, math.nan)
        found = metrics | seconds | own_rates(record)
        return {name: math.nan if held is None else float(held) for name, held in found.items()}
    except FAULTS as error:
        reason = f"not the numbers of a run ({type(error).__name__}: {error})"
        raise ValueError(f"{record.digest}: {reason}; delete the file to redo") from error


def _families(
    pairing: Pairing, fitting: Sequence[Metric], columns: Mapping[str, Floats]
) -> dict[Metric, Family]:
    """A family per metric: the first of the model's own likelihood, else those that any two models
    have in common, then what it is made of."""
    own = [metric for metric in OWN if metric in fitting][:1]
    speaking = own or [metric for metric in COMMON if metric in fitting]
    chosen = dict.fromkeys([*speaking, *(m for m in (*DETAILS, ACTIVE) if m in fitting)])
    runs: dict[str, RunConfig] = {}  # of seed 0, by what names it: data may lie elsewhere
    cells: dict[str, list[int]] = {}
    for place, pair in enumerate(pairing.pairs):
        run = override(pair.a.run, {"seed": 0})
        runs.setdefault(name := digest(run), run)
        cells.setdefault(name, []).append(place)
    images = [by_image(store, store.finished()) for store in pairing.stores]
    return {
        metric: adjusted(
            Contrast(
                metric,
                (STEP,),
                tuple((factor, value(runs[name], factor.name)) for factor in pairing.factors),
                averaged=(),
                estimate=estimate(columns[metric.name][:, places], (-1, 1)),
                test_set_error=_image_error(
                    [pairing.pairs[place] for place in places],
                    [held.get(metric.name, {}) for held in images],
                ),
            )
            for name, places in cells.items()
        )
        for metric in chosen
    }


def _image_error(pairs: Sequence[Pair], images: Sequence[Mapping[str, Floats]]) -> float:
    """The error of a difference over test images; NaN where a run left none, or other ones."""
    sides = [[images[side].get(pair[side].digest) for pair in pairs] for side in (0, 1)]
    held = [values for side in sides for values in side if values is not None]
    if len(held) < 2 * len(pairs) or len({len(values) for values in held}) > 1:
        return math.nan
    return test_set_error([np.stack(held[: len(pairs)]), np.stack(held[len(pairs) :])], (-1, 1))


def _ratios(columns: Mapping[str, Floats]) -> Iterable[Ratio]:
    rates = [name for name in columns if PER_SECOND in name]
    for name in (*(f"{cost}_seconds" for cost in SECONDS), *rates):
        a, b = columns[name][:, (columns[name] > 0).all(0)]
        if len(a):
            lower, median, upper = np.percentile(b / a, (25, 50, 75))
            yield Ratio(_title(name), len(a), float(lower), float(median), float(upper))


def _title(name: str) -> str:
    """`training, seconds`, or `inference, images/s on cpu, AMD EPYC, 1 thread`."""
    task, is_rate, machine = name.partition(PER_SECOND)
    if not is_rate:
        return SECONDS[name.removesuffix("_seconds")]
    return f"{TASKS.get(task, task)}, images/s on {machine}"


def _facts(pairs: Sequence[Pair]) -> Iterable[Fact]:
    rows = [tuple(map(_made, pair)) for pair in pairs]
    flags = sorted({name for a, b in rows for name in (*a, *b) if name not in FACTS})
    for name in (*FACTS, *flags):
        held = [tuple(side.get(name, UNKNOWN) for side in row) for row in rows]
        a, b = (", ".join(sorted(set(side))) for side in zip(*held, strict=True))
        label = FACTS.get(name, name.replace("_", " "))
        yield Fact(name, label, a, b, sum(one != other for one, other in held))


def _made(record: Record) -> dict[str, str]:
    """What is known of the making of a record, flags each for itself, in words."""
    flags: dict[str, Any] = record.environment.get("flags") or {}
    known = flags | {name: held for name, held in made_by(record).items() if name in FACTS}
    return {name: UNKNOWN if held is None else str(held) for name, held in known.items()}
