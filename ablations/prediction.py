"""How long packs will take on this machine and what they will hold: the cheapest and the costliest
run of each kind among them are trained for a moment, in between it goes by FLOPs. So does an
evaluation, which does about as many in a second as the compiled step.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ablations.grid import FLOPS_PER_SECOND, Pack, cost, evaluation_cost, memory
from hvae.config import RunConfig
from hvae.native.bindings import uncompiled

MOST_IMAGES = 512  # of a batch of a trial
TRIES = 4  # after the first; the fastest counts: neighbours only slow a try down
LONG_SECONDS = 0.5  # of a try: one will do
START_SECONDS = 4.0  # of a worker: it imports torch
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class Kind(NamedTuple):
    """What decides, beside its FLOPs, how long a training takes."""

    is_traced: bool
    batch_size: int
    samples: int


class Prediction(NamedTuple):
    """Seconds of one worker for the training of a run: `start` and `slope` by FLOPs, of some kinds
    their own."""

    start: float
    slope: float
    others: Mapping[Kind, "Prediction"] = MappingProxyType({})

    def seconds(self, pack: Pack) -> float:
        """For training a pack and evaluating its runs."""
        return sum(map(self._training, pack.trained)) + sum(map(self._evaluation, pack.runs))

    def _training(self, run: RunConfig) -> float:
        line = self.others.get(kind(run), self)
        return line.start + line.slope * cost(run)

    def _evaluation(self, run: RunConfig) -> float:
        if kind(run) in self.others:
            return self.slope * evaluation_cost(run)
        return self._training(run) * evaluation_cost(run) / cost(run)

    def wall_seconds(self, packs: Sequence[Pack], workers: int) -> float:
        """Until the last worker is through, each taking the longest pack left."""
        ends = [START_SECONDS if packs else 0.0] * workers
        for pack in packs:
            ends[ends.index(min(ends))] += self.seconds(pack)
        return max(ends)


def assumed(device: str) -> Prediction:
    """What a device is taken to do that is not asked."""
    return Prediction(0.0, 1 / FLOPS_PER_SECOND[device])


def predict(packs: Sequence[Pack], device: str) -> Prediction:
    """Measured here on a CPU, in a second; of a GPU, which is not asked, what an H200 does, and of
    runs that do not fit the memory, which cannot be tried, what a CPU is taken to do."""
    runs = [run for pack in packs for run in pack.runs]
    if device != "cpu" or not runs or too_large(packs):
        return assumed(device)
    from hvae.processes import one_thread

    one_thread()  # as the workers
    kinds: dict[Kind, list[RunConfig]] = {}
    for run in runs:
        kinds.setdefault(kind(run), []).append(run)
    found = {one: _line(alike) for one, alike in kinds.items()}
    compiled = [line for one, line in found.items() if not one.is_traced]
    start, slope, _ = compiled[0] if compiled else assumed(device)
    return Prediction(start, slope, found if len(found) > 1 or not compiled else {})


def kind(run: RunConfig) -> Kind:
    """The kind of a run on a CPU."""
    return Kind(bool(uncompiled(run)), run.train.batch_size, run.train.importance_samples)


def _line(runs: Sequence[RunConfig]) -> Prediction:
    """By the cheapest and the costliest of runs of one kind."""
    least, most = (choose(runs, key=cost) for choose in (min, max))
    if cost(most) == cost(least):
        return Prediction(0.0, _training_seconds(most) / cost(most))
    low, high = _training_seconds(least), _training_seconds(most)
    if high <= low:  # chance decides between them
        return Prediction(0.0, high / cost(most))
    slope = (high - low) / (cost(most) - cost(least))
    return Prediction(low - slope * cost(least), slope)


def _training_seconds(run: RunConfig) -> float:
    """Of a whole training, from a short epoch of its engine."""
    from bench.throughput.clock import seconds
    from bench.throughput.tasks import dark_noise, engine_training

    size = min(run.train.batch_size, MOST_IMAGES)
    images = dark_noise(run.model.input_dim, MOST_IMAGES)
    work = engine_training("auto", run, images, "cpu", size)
    work.call()
    once = seconds(work.call, 1, "cpu")
    for _ in range(TRIES if once < LONG_SECONDS else 0):
        once = min(once, seconds(work.call, 1, "cpu"))
    return once * run.train.epochs * run.data.dataset.training_images / work.images


def too_large(packs: Sequence[Pack]) -> str:
    """A line that says so where one pack alone does not fit the memory; else empty."""
    largest = max(packs, key=memory, default=None)
    if largest is None or memory(largest) <= (there := memory_here()):
        return ""
    return (
        f"memory: pack {largest.label!r} needs {memory(largest) / 1e9:.1f} GB and "
        f"{there / 1e9:.1f} GB are here; allowed: packs that fit, of smaller or fewer models"
    )


def lacking_memory(packs: Sequence[Pack], workers: int) -> str:
    """A line that says so where one pack does not fit the memory, or the largest of them do not
    together; else empty."""
    if line := too_large(packs):
        return line
    largest = sorted(map(memory, packs), reverse=True)[:workers]
    needed, there = sum(largest), memory_here()
    if needed <= there:
        return ""
    fewer = sum(total <= there for total in accumulate(largest))
    return (
        f"memory: {workers} workers need {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are here; "
        f"fewer fit, as --workers {fewer}"
    )


def memory_here() -> float:
    """Bytes of this machine, or those that a container or a job may take of it."""
    least = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _limits():
        with suppress(OSError, ValueError):  # not there, or without a limit
            least = min(least, float(int(file.read_text())))
    return least


def _limits() -> Iterator[Path]:
    """Where limits may stand: of the control group of this process and of all that it is in."""
    with suppress(OSError):
        for line in OWN_CGROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            root, name = CGROUPS, "memory.max"
            if controllers:  # of version 1
                root, name = CGROUPS / "memory", "memory.limit_in_bytes"
            if not controllers or "memory" in controllers.split(","):
                own = root / path.lstrip("/")
                yield from (p / name for p in (own, *own.parents) if p.is_relative_to(root))
