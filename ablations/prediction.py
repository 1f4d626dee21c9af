"""How long packs will take on this machine and what they will hold: the cheapest and the costliest
shape among them are trained and evaluated for a moment, in between it goes by FLOPs.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ablations.grid import FLOPS_PER_SECOND, Pack, cost, evaluation_cost, memory
from hvae.config import RunConfig

if TYPE_CHECKING:  # importing this module must not import torch
    from hvae.data.images import Images

IMAGES, LIT = 512, 0.2  # training images of a trial, and the share of their pixels that is not dark
TEST_IMAGES, NLL_IMAGES, SAMPLES = 100, 20, 100  # of a trial's evaluation
TRIES = 3  # the fastest counts: neighbours only slow a try down
START_SECONDS = 4.0  # of a worker: it imports torch
CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container: bytes, or "max"


class Line(NamedTuple):
    """Seconds by FLOPs."""

    start: float
    slope: float

    def at(self, flops: float) -> float:
        return self.start + self.slope * flops


class Prediction(NamedTuple):
    """Seconds of one worker for training a run, and for evaluating it."""

    training: Line
    evaluation: Line

    def seconds(self, pack: Pack) -> float:
        """For all runs of a pack."""
        training = sum(self.training.at(cost(run)) for run in pack.runs)
        return training + sum(self.evaluation.at(evaluation_cost(run)) for run in pack.runs)

    def wall_seconds(self, packs: Sequence[Pack], workers: int) -> float:
        """Until the last worker is through, each taking the longest pack left."""
        ends = [START_SECONDS if packs else 0.0] * workers
        for pack in packs:
            ends[ends.index(min(ends))] += self.seconds(pack)
        return max(ends)


def predict(packs: Sequence[Pack], device: str) -> Prediction:
    """Measured here on a CPU, in about two seconds; of a GPU, which is not asked, what an H200
    does."""
    runs = {replace(run, train=replace(run.train, seed=0)) for pack in packs for run in pack.runs}
    if device != "cpu" or not runs:
        line = Line(0.0, 1 / FLOPS_PER_SECOND[device])
        return Prediction(line, line)
    from hvae.processes import one_thread

    one_thread()  # as the workers
    return Prediction(
        _line(runs, cost, _training_seconds), _line(runs, evaluation_cost, _evaluation_seconds)
    )


def _line(
    runs: Iterable[RunConfig],
    flops: Callable[[RunConfig], int],
    seconds: Callable[[RunConfig], float],
) -> Line:
    """Through the cheapest and the costliest run."""
    least, most = (choose(runs, key=flops) for choose in (min, max))
    low, high = seconds(least), seconds(most) if most != least else 0.0
    if high <= low:  # one shape, or so little between them that chance decides
        return Line(0.0, max(low, high) / flops(most))
    slope = (high - low) / (flops(most) - flops(least))
    return Line(low - slope * flops(least), slope)


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


def _evaluation_seconds(run: RunConfig) -> float:
    """Of a whole evaluation, from one of few images and draws."""
    from hvae.evaluation.evaluate import evaluate
    from hvae.model import initial

    few = replace(
        run,
        evaluation=replace(
            run.evaluation,
            importance_samples=min(SAMPLES, run.evaluation.importance_samples),
            nll_images=min(NLL_IMAGES, run.evaluation.nll_images),
        ),
    )
    settings, images, model = few.evaluation, _images(run), initial(run)
    given = (settings.importance_samples, "cpu")
    once = _fastest(lambda: evaluate([model], images, *given, nll_images=settings.nll_images))
    return once * evaluation_cost(run) / evaluation_cost(few, TEST_IMAGES)


def _fastest(call: Callable[[], object]) -> float:
    def seconds() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return min(seconds() for _ in range(TRIES))


def _images(run: RunConfig) -> "Images":
    """Noise as dark as handwriting, of the run's size, binarised as its images are."""
    import numpy as np

    from hvae.data.images import Images

    random, pixels = np.random.default_rng(0), run.model.input_dim
    levels = 1 if run.data.binarize == "static" else 255
    lit = random.random((IMAGES + TEST_IMAGES, pixels)) < LIT
    grey = (lit * random.integers(1, levels + 1, lit.shape)).astype(np.uint8)
    train, test = grey[:IMAGES], grey[IMAGES:]
    is_grey = run.data.binarize == "none"
    binary = (test > levels // 2).astype(np.uint8)
    labels = (np.arange(IMAGES) % 10).astype(np.uint8)
    shown = (test, labels[:TEST_IMAGES], levels) if is_grey else (binary, labels[:TEST_IMAGES], 1)
    return Images(train, labels, levels, *shown, binary, "")


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
