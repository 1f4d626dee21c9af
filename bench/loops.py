"""What the processes of the ladder call: training loops and the machine's own two rates.

A rung is a way to train the reference; a gauge measures what the machine can do. Both are built in
a process of their own and then called with a count: images of an epoch, or repeats.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch

from bench.documented import REFERENCE, Loop, documented_loop, fused_loop, in_memory_loop
from hvae.config import DataConfig, RunConfig
from hvae.data import load
from hvae.training import Training

SEEDS = 5  # of a pack, as the standard study has them: members of a seed share batches and noise
# A product large enough to reach the machine's rate, and more bytes than its caches hold.
SGEMM_SIDE = {"cpu": 1024, "cuda": 8192}
COPY_FLOATS = {"cpu": 2**24, "cuda": 2**28}
LOOPS = {"documented": documented_loop, "in_memory": in_memory_loop, "fused": fused_loop}


@dataclass(frozen=True)
class Source:
    """The training images: dataset, its folder, and how many there are."""

    name: str
    folder: Path
    images: int


@dataclass(frozen=True)
class Rung:
    """A way to train: `models` at once in each of `processes`, `steps` batches a window."""

    name: str
    title: str
    kind: str  # documented, in_memory, fused, pack
    steps: int
    device: str
    models: int = 1
    processes: int = 1
    is_compiled: bool = False


@dataclass(frozen=True)
class Gauge:
    """A rate of the machine: `kind` sgemm or copy, `repeats` a window, all processes at once."""

    kind: str
    repeats: int
    device: str
    processes: int = 1

    @property
    def work(self) -> float:
        """FLOP of the products of a window, or bytes read and written, of all processes."""
        once = 2 * SGEMM_SIDE[self.device] ** 3
        if self.kind == "copy":
            once = 2 * 4 * COPY_FLOATS[self.device]
        return float(once * self.repeats * self.processes)


def build_rung(rung: Rung, source: Source, warm_up: int) -> Loop:
    """The loop of a rung, warmed up with an epoch of `warm_up` images."""
    if rung.kind == "pack":
        loop = pack_loop(rung.models, source, rung.device, rung.is_compiled)
    else:
        loop = LOOPS[rung.kind](source.name, source.folder, rung.device)
    loop(warm_up)
    return loop


def pack_loop(models: int, source: Source, device: str, is_compiled: bool) -> Loop:
    """The engine itself; on cuda it captures its step."""
    runs = pack(models, source.name)
    images = load(runs[0].data, source.folder)
    training = Training(runs, images, torch.device(device), torch.float32, is_compiled)
    epochs = count(1)

    def run(count: int) -> float:
        # An epoch of the first images: its noise and order cost their share of a whole epoch's.
        training.images = replace(images, train=images.train[:count])
        return float(training.epoch(next(epochs))[0, 0]) / count

    return run


def pack(models: int, data: str = "mnist") -> list[RunConfig]:
    """Trainings of the reference, no two alike: `SEEDS` seeds, then the same with more KL."""
    return [
        replace(
            REFERENCE,
            train=replace(
                REFERENCE.train, seed=member % SEEDS, kl_weight=1.0 + 0.1 * (member // SEEDS)
            ),
            data=DataConfig(data),
        )
        for member in range(models)
    ]


def build_gauge(gauge: Gauge) -> Callable[[int], None]:
    """The call of a gauge, warmed up."""
    call = {"sgemm": _sgemm, "copy": _copy}[gauge.kind](gauge.device)

    def run(repeats: int) -> None:
        for _ in range(repeats):
            call()
        if gauge.device == "cuda":
            torch.cuda.synchronize()

    run(1)
    return run


def _sgemm(device: str) -> Callable[[], object]:
    side = SGEMM_SIDE[device]
    left, right = (torch.ones(side, side, device=device) for _ in range(2))
    out = torch.empty(side, side, device=device)
    return lambda: torch.mm(left, right, out=out)


def _copy(device: str) -> Callable[[], object]:
    source, target = (torch.ones(COPY_FLOATS[device], device=device) for _ in range(2))
    return lambda: target.copy_(source)
