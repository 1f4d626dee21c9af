"""A slowdown to be found: matrix products planted in the training step of a side, of one model
alone, so that one benchmark is slower, by as much as is said."""

import random
import statistics
from pathlib import Path

from bench.checkouts import laid_out
from bench.gate import Progress
from bench.harness import BENCHMARKS
from bench.pairs import time_pairs

FILE = "hvae/training.py"
BEFORE = "        self.optimizer.step(list(gradients.values()))\n"
WORK = """\
        first = self.parameters["encoders.0.linear.weight"]  # [K, D, H]
        for _ in range({products} if len(first) == 1 else 0):
            torch.bmm(x[None, :{rows}], first)
"""
PRODUCTS = 4  # each of up to the 64 rows of a batch: more than a fifth of the step's time
TRIAL_ROWS = 32  # to see what a row costs
TRIAL_PAIRS = 4


def plant(side: Path, rows: int) -> None:
    """Add the products to a side. Raises `ValueError` where its step is not the one known here."""
    file = side / FILE
    source = file.read_text()
    if source.count(BEFORE) != 1:
        raise ValueError(f"planted: {FILE} has no one line {BEFORE.strip()!r} to plant before")
    file.write_text(source.replace(BEFORE, WORK.format(products=PRODUCTS, rows=rows) + BEFORE))


def rows_for(root: Path, percent: float, device: str, progress: Progress) -> int:
    """Rows of the products that cost `percent` of the time of a training step, measured here: of
    its time, not of its FLOPs, about half of which is no matrix work."""
    benchmark = BENCHMARKS[0]
    with laid_out(root, None) as layout:
        plant(layout.sides.head, TRIAL_ROWS)
        lot = random.Random()
        pairs = time_pairs(layout.sides, [benchmark], TRIAL_PAIRS, device, lot, progress)
    added = statistics.median(p.head_seconds / p.base_seconds - 1 for p in pairs[benchmark])
    return max(1, round(TRIAL_ROWS * percent / 100 / max(added, 0.01)))
