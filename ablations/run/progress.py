"""What is said beside the answer, on stderr: lines, and on a terminal a bar of the grid."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping

from ablations.grid import Pack
from ablations.terminal import printable
from hvae.records.store import Record
from report.render.numbers import counted

YARDSTICK = "scoreboard_nll_nats"  # the one number that BCE and MSE models may be ranked by
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"


def say(line: str) -> None:
    """Write a line to stderr at once, above the bar where there is one; text of others as text."""
    from tqdm.auto import tqdm  # a fifth of a second, which `--help` does not need

    tqdm.write(printable(line), file=sys.stderr)
    sys.stderr.flush()


class Display:
    """How far a grid has come, in runs and in predicted cost, and its best run so far: a bar on a
    terminal; elsewhere a line per pack that is trained and per run that is recorded.

    `labels` are all its runs in words, by digest; `present` what is recorded already.
    """

    def __init__(
        self,
        study: str,
        packs: Iterable[Pack],
        labels: Mapping[str, str],
        present: Iterable[Record],
        clock: Callable[[], float] = time.monotonic,
        is_timed: bool = True,
    ) -> None:
        from tqdm.auto import tqdm

        self.study, self.labels, self.clock = study, labels, clock
        self.shares = dict.fromkeys(packs, 0.0)
        self.cost = max(1, sum(pack.cost for pack in self.shares))
        self.recorded = self.diverged = 0
        self.best_nats, self.best_label = math.inf, ""
        self.first: tuple[float, float] | None = None  # time and fraction of the first progress
        for record in present:
            self._count(record)
        # None: where stderr is no terminal.
        self.bar = tqdm(total=1.0, bar_format=BAR, file=sys.stderr, disable=None)
        before = ", after the throughput of each cell" if is_timed else ""
        self._show(f"{study}: {counted(len(self.shares), 'pack')} to train{before}")

    def advance(self, pack: Pack, done: int, total: int) -> None:
        """A pack has come so far."""
        self.shares[pack] = done / total
        self.first = self.first or (self.clock(), self.fraction)
        trained = f"{self.study}: trained and evaluated {pack.label}; {self.left_text}"
        self._show(trained if done == total else "")

    def replace(self, pack: Pack, parts: Iterable[Pack]) -> None:
        """What is left of a pack; the rest of it is behind us."""
        self.shares.pop(pack, None)
        self.shares |= dict.fromkeys(parts, 0.0)

    def add(self, record: Record) -> None:
        """A run is recorded."""
        self._count(record)
        nats = _nats(record)
        value = record.status if math.isnan(nats) else f"{nats:.2f} nats{_certificate(record)}"
        best = self.best_text + (f" ({self.best_label})" if self.best_label else "")
        run = f"{self.recorded_text}: {self.labels[record.digest]}: {value}"
        self._show(f"{run}; {best}; {self.left_text}")

    @property
    def recorded_text(self) -> str:
        """The study, and how many of its runs are recorded."""
        return f"{self.study} {self.recorded}/{len(self.labels)}"

    @property
    def fraction(self) -> float:
        """The share of the predicted cost that is behind us."""
        left = sum(pack.cost * (1 - share) for pack, share in self.shares.items())
        return 1 - left / self.cost

    @property
    def left_text(self) -> str:
        """Time left at the speed since the first progress: starting up trains nothing."""
        if self.first is None or self.fraction <= self.first[1]:
            return "time left unknown"
        speed = (self.fraction - self.first[1]) / max(1e-9, self.clock() - self.first[0])
        return f"{(1 - self.fraction) / speed:.0f} s left"

    @property
    def best_text(self) -> str:
        """The scoreboard NLL of the best run, and how many runs diverged."""
        best = f"best {self.best_nats:.2f} nats" if self.best_label else "no result yet"
        return f"{best}, {self.diverged} diverged" if self.diverged else best

    def _count(self, record: Record) -> None:
        self.recorded += 1
        self.diverged += record.status == "diverged"
        if (nats := _nats(record)) < self.best_nats:
            self.best_nats, self.best_label = nats, self.labels[record.digest]

    def _show(self, line: str) -> None:
        """Move the bar; where there is none, say the line, if there is one."""
        if self.bar.disable and line:
            say(line)
        self.bar.n = self.fraction
        self.bar.set_description_str(f"{self.recorded_text} runs", refresh=False)
        # Short, so that 80 columns leave room for the bar.
        self.bar.set_postfix_str(f"{self.left_text}, {self.best_text}")


def _certificate(record: Record) -> str:
    """How far apart the bounds of the NLL are."""
    gap = record.metrics.get("nll_gap_nats")
    return "" if gap is None else f" (bounds {gap:.2f} apart)"


def _nats(record: Record) -> float:
    """What runs are ranked by; NaN where it is no number."""
    value = record.metrics.get(YARDSTICK)
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if value is not None and is_number else math.nan
