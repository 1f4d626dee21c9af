"""One recorded run trained again and compared with its record: nothing is written."""

from typing import Any, NamedTuple

from ablations.grid import Pack, labels
from ablations.run.executors import first
from ablations.run.launch import Launch, conditions, require_records, standings_of
from ablations.run.pack import Task, run_pack
from ablations.run.recording import numbers
from ablations.studies import Study
from hvae.records.standings import refuse_damaged
from hvae.records.store import Record, Store

# Rounding of another kind of processor grows in thousands of steps: then these agree to 1 %.
COMPARED = ("elbo_nats", "nll_nats", "scoreboard_nll_nats", "loss_documented", "psnr_db")
TOLERANCE = 0.01
WHERE = ("device", "device_name", "threads", "torch")  # of an environment: bits depend on it


class Verdict(NamedTuple):
    """What a run came to when it was trained again, in a line, and whether that is its record."""

    line: str
    is_equal: bool


def verify(study: Study, store: Store, launch: Launch) -> Verdict:
    """Train the first recorded run of a study alone, of those that are not stale if there are any,
    and compare every number with its record's.

    Bit for bit where processor, library and engine are the record's; else some metrics to 1 %.
    Raises `ValueError` where there is no record, or the data are not there.
    """
    standings = standings_of(study, store)
    refuse_damaged(standings)
    require_records(study, store, standings)
    recorded = [(s.state == "stale", s, s.record) for s in standings if s.record is not None]
    is_stale, standing, record = min(recorded, key=lambda found: found[0])  # the first of either
    run = launch.located(standing.run)  # as asked for: its data may lie elsewhere now
    with launch.place() as place:
        task = Task(Pack(study.name, (run,)), conditions([run], launch, place), {})
        again = first(place.map(run_pack, [task]))
    assert again is not None
    line, is_equal = compare(record, again.record)
    why = f"; {standing.reason}" if is_stale and not is_equal else ""
    return Verdict(f"{record.digest} ({labels(study)[record.digest]}): {line}{why}", is_equal)


def compare(record: Record, again: Record) -> Verdict:
    """The numbers of two records of one run."""
    before, now = dict(numbers(record)), dict(numbers(again))
    differing = [name for name, value in before.items() if now.get(name) != value]
    if not differing:
        return Verdict(f"all {len(before)} numbers are equal, bit for bit", True)
    said = f"{len(differing)} of {len(before)} numbers differ"
    if where := _elsewhere(record, again):
        far = [name for name in COMPARED if _distance(before, now, name) > TOLERANCE]
        kept = "within" if not far else f"{', '.join(far)} not within"
        return Verdict(f"{said}, {kept} {TOLERANCE:.0%}, with another {where}", not far)
    first = differing[0]
    return Verdict(f"{said}, the first {first}: {before[first]} then, {now.get(first)} now", False)


def _elsewhere(record: Record, again: Record) -> str:
    """In what the environments differ, as far as bits depend on it; also engines and packs."""
    one, other = record.environment, again.environment
    differing = [name for name in WHERE if one.get(name) != other.get(name)]
    flags, others = one.get("flags") or {}, other.get("flags") or {}
    if flags.get("engine") != others.get("engine"):
        differing.append("engine")
    elif flags.get("engine") != "compiled" and flags.get("pack_size") != others.get("pack_size"):
        differing.append("pack size")
    return " and ".join(name.replace("_", " ") for name in differing)


def _distance(before: dict[str, Any], now: dict[str, Any], name: str) -> float:
    """Of a metric, relative; 0 where the record has none."""
    one, other = before.get(f"metrics.{name}"), now.get(f"metrics.{name}")
    if one is None or other is None:
        return float(one is not other)
    return float(abs(one - other) / max(abs(one), abs(other), 1e-9))
