"""Progress of a grid on stderr: two bars on a terminal, plain lines elsewhere."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tqdm import tqdm

from ablations.grid import Pack
from ablations.run.messages import say
from hvae.records.store import Record

YARDSTICK = "scoreboard_nll_nats"  # the one number that BCE and MSE models may be ranked by
GRID_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
PACK_BAR = "{desc} {percentage:3.0f}%|{bar}|"


class HasPack(Protocol):
    """A task, as far as its progress goes."""

    @property
    def pack(self) -> Pack: ...


class Tally:
    """How far a grid has come, in runs and in predicted cost, and its best run so far.

    `labels` are all its runs in words, by digest.
    """

    def __init__(
        self,
        packs: Iterable[Pack],
        labels: Mapping[str, str],
        present: Iterable[Record],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shares = dict.fromkeys(packs, 0.0)
        self.labels, self.total = labels, len(labels)
        self.recorded = self.diverged = 0
        self.best: Record | None = None
        self.clock = clock
        self.first: tuple[float, float] | None = None  # time and fraction of the first progress
        for record in present:
            self.add(record)

    def add(self, record: Record) -> None:
        self.recorded += 1
        self.diverged += record.status == "diverged"
        value = _number(record)
        if value is not None and (self.best is None or value < self.best.metrics[YARDSTICK]):
            self.best = record

    def advance(self, pack: Pack, share: float) -> None:
        if pack in self.shares:  # what is tried again by parts was counted as a whole
            self.shares[pack] = share
        self.first = self.first or (self.clock(), self.fraction)

    @property
    def fraction(self) -> float:
        """The share of the predicted cost that is behind us."""
        done = sum(pack.cost * share for pack, share in self.shares.items())
        return done / max(1, sum(pack.cost for pack in self.shares))

    @property
    def left_text(self) -> str:
        """Time left at the speed since the first progress: starting up trains nothing."""
        if self.first is None or self.fraction <= self.first[1]:
            return "time left unknown"
        speed = (self.fraction - self.first[1]) / max(1e-9, self.clock() - self.first[0])
        return f"{(1 - self.fraction) / speed:.0f} s left"

    @property
    def best_text(self) -> str:
        best = f"best {self.best.metrics[YARDSTICK]:.2f} nats" if self.best else "no result yet"
        return f"{best}, {self.diverged} diverged" if self.diverged else best


class Bars:
    """One bar for the grid, one for the pack in hand; of several in hand, the first to report."""

    def __init__(self, study: str, tally: Tally) -> None:
        self.study, self.tally = study, tally
        self.in_hand: Pack | None = None
        self.grid = tqdm(total=1.0, bar_format=GRID_BAR, file=sys.stderr)
        self.pack = tqdm(
            total=1,
            bar_format=PACK_BAR,
            file=sys.stderr,
            position=1,
            leave=False,
            desc="measuring throughput",
        )
        self._show()

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *raised: object) -> None:
        self.pack.close()
        self.grid.close()

    def on_progress(self, task: HasPack, done: int, total: int) -> None:
        self.tally.advance(task.pack, done / total)
        self.in_hand = self.in_hand or task.pack
        if task.pack == self.in_hand:
            self.pack.total, self.pack.n = total, done
            self.pack.set_description_str(task.pack.label)
            self.in_hand = None if done == total else self.in_hand
        self._show()

    def on_record(self, record: Record) -> None:
        self.tally.add(record)
        self._show()

    def _show(self) -> None:
        self.grid.n = self.tally.fraction
        self.grid.set_description_str(
            f"{self.study} {self.tally.recorded}/{self.tally.total} runs", refresh=False
        )
        # Short, so that 80 columns leave room for the bar.
        self.grid.set_postfix_str(f"{self.tally.left_text}, {self.tally.best_text}")


class Lines:
    """A line per pack that is trained and per run that is recorded, for logs."""

    def __init__(self, study: str, tally: Tally) -> None:
        self.study, self.tally = study, tally
        say(f"{study}: {len(tally.shares)} packs to train, after the throughput of each cell")

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def on_progress(self, task: HasPack, done: int, total: int) -> None:
        self.tally.advance(task.pack, done / total)
        if done == total:
            trained = f"{self.study}: trained and evaluated {task.pack.label}"
            say(f"{trained}; {self.tally.left_text}")

    def on_record(self, record: Record) -> None:
        self.tally.add(record)
        counted = f"{self.study} {self.tally.recorded}/{self.tally.total}"
        labels, best = self.tally.labels, self.tally.best
        run = f"{labels[record.digest]}: {_value(record)}"
        best_text = self.tally.best_text + (f" ({labels[best.digest]})" if best else "")
        say(f"{counted}: {run}; {best_text}; {self.tally.left_text}")


def display(study: str, tally: Tally) -> Bars | Lines:
    """Bars where stderr is a terminal, lines where it is not."""
    return Bars(study, tally) if sys.stderr.isatty() else Lines(study, tally)


def _number(record: Record) -> float | None:
    """What runs are ranked by; None where it is no number."""
    value = record.metrics.get(YARDSTICK)
    return value if value is not None and math.isfinite(value) else None


def _value(record: Record) -> str:
    value = _number(record)
    return record.status if value is None else f"{value:.2f} nats"
