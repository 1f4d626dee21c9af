"""Progress of a grid on stderr: two bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol

import click
from tqdm import tqdm

from ablations.grid import Pack, label
from hvae.records import Record

YARDSTICK = "scoreboard_nll_nats"  # the one number that BCE and MSE models may be ranked by
GRID_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
PACK_BAR = "{desc} {n_fmt}/{total_fmt} epochs|{bar}|"


class HasPack(Protocol):
    """A task, as far as its progress goes."""

    @property
    def pack(self) -> Pack: ...


class Tally:
    """How far a grid has come, in runs and in predicted cost, and its best run so far."""

    def __init__(self, packs: Iterable[Pack], total: int, present: Iterable[Record]) -> None:
        self.shares = dict.fromkeys(packs, 0.0)
        self.total = total
        self.recorded = 0
        self.best: Record | None = None
        for record in present:
            self.add(record)

    def add(self, record: Record) -> None:
        self.recorded += 1
        value = record.metrics.get(YARDSTICK)
        if value is not None and (self.best is None or value < self.best.metrics[YARDSTICK]):
            self.best = record

    @property
    def fraction(self) -> float:
        """The share of the predicted cost that is behind us."""
        done = sum(pack.cost * share for pack, share in self.shares.items())
        return done / max(1, sum(pack.cost for pack in self.shares))

    @property
    def best_text(self) -> str:
        if self.best is None:
            return "no result yet"
        return f"best {self.best.metrics[YARDSTICK]:.2f} nats ({label(self.best.run)})"


class Bars:
    """One bar for the grid, one for the pack in hand; of several in hand, the first to report."""

    def __init__(self, study: str, tally: Tally) -> None:
        self.study, self.tally = study, tally
        self.in_hand: Pack | None = None
        self.grid = tqdm(total=1.0, bar_format=GRID_BAR, file=sys.stderr)
        self.pack = tqdm(total=1, bar_format=PACK_BAR, file=sys.stderr, position=1, leave=False)
        self._show()

    def __enter__(self) -> "Bars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pack.close()
        self.grid.close()

    def on_progress(self, task: HasPack, done: int, total: int) -> None:
        self.tally.shares[task.pack] = done / total
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
        self.grid.set_postfix_str(self.tally.best_text)


class Lines:
    """A line per pack that is trained and per run that is recorded, for logs."""

    def __init__(self, study: str, tally: Tally) -> None:
        self.study, self.tally = study, tally
        self.started = time.monotonic()
        click.echo(f"{study}: {len(tally.shares)} packs to train", err=True)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def on_progress(self, task: HasPack, done: int, total: int) -> None:
        self.tally.shares[task.pack] = done / total
        if done == total:
            click.echo(f"{self.study}: trained {task.pack.label}; {self._left()}", err=True)

    def on_record(self, record: Record) -> None:
        self.tally.add(record)
        counted = f"{self.study} {self.tally.recorded}/{self.tally.total}"
        click.echo(f"{counted}: {label(record.run)}: {_value(record)}; {self._rest()}", err=True)

    def _rest(self) -> str:
        return f"{self.tally.best_text}; {self._left()}"

    def _left(self) -> str:
        done = self.tally.fraction
        elapsed = time.monotonic() - self.started
        return f"{elapsed * (1 - done) / done:.0f} s left" if done else "time left unknown"


def display(study: str, tally: Tally) -> Bars | Lines:
    """Bars where stderr is a terminal, lines where it is not."""
    return Bars(study, tally) if sys.stderr.isatty() else Lines(study, tally)


def _value(record: Record) -> str:
    value = record.metrics.get(YARDSTICK)
    return record.status if value is None else f"{value:.2f} nats"
