"""How long packs will take on this machine and what they will hold: the cheapest and the costliest
shape among them are trained for a moment, in between it goes by FLOPs, and so does an evaluation,
which does about as many in a second.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ablations.grid import FLOPS_PER_SECOND, Pack, cost, evaluation_cost, memory
from hvae.config import RunConfig

if TYPE_CHECKING:  # importing this module must not import torch
    from hvae.data.images import Images

IMAGES, LIT = 512, 0.2  # training images of a trial, and the share of their pixels that is not dark
TRIES = 5  # the fastest counts: neighbours only slow a try down
START_SECONDS = 4.0  # of a worker: it imports torch
CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container: bytes, or "max"


class Prediction(NamedTuple):
    """Seconds of one worker for the training of a run: `start` and `slope` by FLOPs."""

    start: float
    slope: float

    def seconds(self, pack: Pack) -> float:
        """For training and evaluating all runs of a pack."""
        return sum(
            (self.start + self.slope * cost(run)) * (1 + evaluation_cost(run) / cost(run))
            for run in pack.runs
        )

    def wall_seconds(self, packs: Sequence[Pack], workers: int) -> float:
        """Until the last worker is through, each taking the longest pack left."""
        ends = [START_SECONDS if packs else 0.0] * workers
        for pack in packs:
            ends[ends.index(min(ends))] += self.seconds(pack)
        return max(ends)


def predict(packs: Sequence[Pack], device: str) -> Prediction:
    """Measured here on a CPU, in a second; of a GPU, which is not asked, what an H200 does."""
    runs = [run for pack in packs for run in pack.runs]
    if device != "cpu" or not runs:
        return Prediction(0.0, 1 / FLOPS_PER_SECOND[device])
    from hvae.processes import one_thread

    one_thread()  # as the workers
    least, most = (choose(runs, key=cost) for choose in (min, max))
    low, high = _training_seconds(least), _training_seconds(most)
    if high <= low or cost(most) == cost(least):  # chance decides between them
        return Prediction(0.0, high / cost(most))
    slope = (high - low) / (cost(most) - cost(least))
    return Prediction(low - slope * cost(least), slope)


def _training_seconds(run: RunConfig) -> float:
    """Of a whole training, from a few batches."""
    import torch

    from hvae.training.draws import Draws
    from hvae.training.fit import choose

    short = replace(run, train=replace(run.train, batch_size=min(run.train.batch_size, IMAGES)))
    images, cpu = _images(run), torch.device("cpu")
    engine, _ = choose([short], cpu, torch.float32, "auto")
    draws = Draws([short], images, cpu)
    engine.epoch(draws, 1, 1.0)
    once = _fastest(lambda: engine.epoch(draws, 1, 1.0))
    return once * cost(run) / cost(run, IMAGES)


def _fastest(call: Callable[[], object]) -> float:
    def seconds() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return min(seconds() for _ in range(TRIES))


def _images(run: RunConfig) -> "Images":
    """Noise as dark as handwriting, of the run's size."""
    import numpy as np

    from hvae.data.images import Images

    random = np.random.default_rng(0)
    lit = random.random((IMAGES, run.model.input_dim)) < LIT
    pixels = (lit * random.integers(1, 256, lit.shape)).astype(np.uint8)
    labels = np.zeros(IMAGES, np.uint8)
    return Images(pixels, labels, 255, pixels, labels, 255, pixels, "")


def lacking_memory(packs: Sequence[Pack], workers: int) -> str:
    """A line that says so where the largest packs do not fit the memory together; else empty."""
    needed = sum(sorted(map(memory, packs))[-workers:])
    there = memory_here()
    if needed <= there:
        return ""
    fewer = max(1, math.floor(workers * there / needed))
    return (
        f"memory: {workers} workers need {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are here; "
        f"fewer fit, as --workers {fewer}"
    )


def memory_here() -> float:
    """Bytes of this machine, or those that a container may take of it."""
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):  # no container, or one without a limit
        return min(total, float(int(CGROUP.read_text())))
    return total
