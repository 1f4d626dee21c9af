"""What becomes of the runs of a study as they end: recorded, tried again, or failed."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ablations.grid import Pack, halves
from ablations.run.executors import NODES_LOST, NodeDied
from ablations.run.pack import Finished
from ablations.run.progress import say
from ablations.run.sharing import Sharing
from hvae.config import RunConfig
from hvae.records.sources import SourcesChanged
from hvae.records.store import WEIGHTS, Record, RecordError, Store
from hvae.settings import digest


@dataclass
class Recording:
    """What becomes of the runs: recorded or failed. A disk that is full fails a run, no more."""

    store: Store
    sharing: Sharing
    recorded: set[str] = field(default_factory=set)
    nodes_lost: Counter[tuple[RunConfig, ...]] = field(default_factory=Counter)

    def retries(self, pack: Pack, error: BaseException) -> list[Pack]:
        """What is tried after a failure: the whole pack where it was its node's, else the halves
        of what is left of it, so that no run takes others along, nor what lacks memory; nothing of
        one run, or where the sources changed."""
        if isinstance(error, NodeDied) and self.nodes_lost[pack.members] < NODES_LOST:
            self.nodes_lost[pack.members] += 1
            return [pack] if pack.runs else []
        is_last = len(pack.runs) < 2 or isinstance(error, SourcesChanged)
        return [] if is_last else halves(pack)

    def publish(self, finished: Finished) -> None:
        """Put a run into the store, as far as it lets: what is left of it another may take."""
        try:
            is_new = self.store.write(*finished)
            if not is_new and WEIGHTS in finished.files:
                self._compare(finished.record)
        except (OSError, RecordError) as error:  # a full disk, or a record that cannot be read
            reason = getattr(error, "strerror", None) or error
            self.sharing.say_once(f"cannot write under {self.store.runs}: {reason}")
        else:
            self.recorded.add(finished.record.digest)
            self.sharing.shown.add(finished.record)
        finally:
            self.sharing.release(finished.record.digest)

    def _compare(self, again: Record) -> None:
        """Say where weights come to lie beside a record that is of another training."""
        if dict(numbers(self.store.read(again.digest))) != dict(numbers(again)):
            say(f"{again.digest}: the weights are of a training whose numbers are not its record's")

    def fail(self, pack: Pack, error: BaseException) -> None:
        """Leave word of why the runs of a pack have no record."""
        if isinstance(error, SourcesChanged) and pack.runs:
            self.sharing.say_once(str(error))
        for run in pack.runs:
            with suppress(OSError):  # of a full disk
                self.store.write_failure(run, error)
            self.sharing.release(digest(run))


def numbers(record: Record) -> Iterator[tuple[str, Any]]:
    """Every number of training and evaluation by its place: `metrics.kl_per_level_nats.0`."""
    yield from _flat("history", record.history)
    yield from _flat("metrics", record.metrics)


def _flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{place}.{key}", item)
    elif not place.endswith("seconds"):  # of the clock
        is_number = not isinstance(value, float) or math.isfinite(value)
        yield place, value if is_number else None  # as a record has it
