"""A slowdown to be found: matrix products planted in the training step of a side, of one model
alone, so that one benchmark is slower, by as much as is said."""

import math
import random
import statistics
from pathlib import Path

from bench.gate.paired_timing import Progress, time_pairs
from bench.gate.revisions import laid_out
from bench.gate.side.harness import BENCHMARKS
from hvae.config import RunConfig

FILE = "hvae/training/traced.py"
BEFORE = "        self.optimizer.step(list(gradients.values()))\n"
WORK = """\
        first = self.parameters["encoders.0.linear.weight"]  # [K, D, H]
        for _ in range({products} if len(first) == 1 else 0):
            torch.bmm(x[None, :{rows}], first)
"""
PRODUCTS = 4  # each of up to the rows of a batch: more than a fifth of the step's time, mostly
BATCH_ROWS = RunConfig().train.batch_size
TRIAL_ROWS = 32  # to see what a row costs
TRIAL_PAIRS = 20  # with 6, 5 % came out as 4.1 %, for all trials of a series


def plant(side: Path, rows: int) -> None:
    """Add the products to a side. Raises `ValueError` where its step is not the one known here."""
    file = side / FILE
    source = file.read_text()
    if source.count(BEFORE) != 1:
        raise ValueError(f"planted: {FILE} has no one line {BEFORE.strip()!r} to plant before")
    file.write_text(source.replace(BEFORE, WORK.format(products=PRODUCTS, rows=rows) + BEFORE))


def rows_for(root: Path, percent: float, device: str, progress: Progress) -> int:
    """Rows of the products that cost `percent` of the time of a training step, measured here: of
    its time, not of its FLOPs, because about half of it is no matrix work. Raises `ValueError`
    where a batch has fewer."""
    many = max(_added(root, TRIAL_ROWS, device, progress), 1.0)
    few_rows = max(1, round(TRIAL_ROWS * percent / many))
    few = _added(root, few_rows, device, progress)
    rows = few_rows
    if (many - few) * (TRIAL_ROWS - few_rows) > 0:  # else chance decides between the two
        # A product of few rows costs more a row: along the line through both points.
        row = (many - few) / (TRIAL_ROWS - few_rows)
        rows = max(1, round(few_rows + (percent - few) / row))
    if rows > BATCH_ROWS:
        raise ValueError(f"planted: {percent:g} % takes {rows} of {BATCH_ROWS} rows; allowed: less")
    return rows


def _added(root: Path, rows: int, device: str, progress: Progress) -> float:
    """Per cent that the products add to `train_step`."""
    benchmark = BENCHMARKS[0]
    with laid_out(root, None) as layout:
        plant(layout.sides.head, rows)
        lot = random.Random()
        pairs = time_pairs(layout.sides, [benchmark], TRIAL_PAIRS, device, lot, progress)
    return 100 * math.expm1(statistics.median(pair.log_ratio["busy"] for pair in pairs[benchmark]))
