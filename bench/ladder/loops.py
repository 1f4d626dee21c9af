"""What the workers of the ladder do: training loops and the machine's own two rates.

A rung is a way to train the reference; a gauge measures what the machine can do. Both are built in
workers of their own and then called with a count: images of an epoch, or repeats.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from typing import NamedTuple

import torch

from bench.ladder.documented_loop import (
    REFERENCE,
    Loop,
    documented_loop,
    fused_loop,
    in_memory_loop,
)
from bench.ladder.rungs import COPY_FLOATS, SGEMM_SIDE, Gauge, Rung, Source
from bench.throughput.tasks import ENDLESS
from hvae.config import DataConfig, RunConfig
from hvae.data.images import load
from hvae.processes import Progress
from hvae.settings import override
from hvae.training.draws import Draws, Engine
from hvae.training.fit import choose

CELLS = 10  # of a seed, at a depth of the standard study: they share batches, noise and a pack
LOOPS = {"documented": documented_loop, "in_memory": in_memory_loop, "fused": fused_loop}


class Order(NamedTuple):
    """What a worker is asked for: so many images of an epoch, or repeats of a gauge."""

    task: Rung | Gauge
    source: Source
    amount: int


def carry_out(order: Order, progress: Progress) -> Iterator[float]:
    """The processor seconds of an order; what it calls is built once and stays."""
    call = built(order.task, order.source)
    started = time.process_time()
    if order.amount:
        call(order.amount)
    yield time.process_time() - started


@cache
def built(task: Rung | Gauge, source: Source) -> Callable[[int], object]:
    """What a rung or a gauge calls, warmed up: a rung with a window, so that all its batch sizes
    are compiled."""
    if isinstance(task, Gauge):
        return gauge_loop(task)
    loop = training_loop(task, source)
    loop(task.images(source))
    return loop


def training_loop(rung: Rung, source: Source) -> Loop:
    """The loop of a rung, before its first step."""
    if rung.kind == "pack":
        return pack_loop(rung, source)
    return LOOPS[rung.kind](source.name, source.folder, rung.device)


def pack_loop(rung: Rung, source: Source) -> Loop:
    """The engine itself, which on cuda captures its step, or the same pack in JAX."""
    device, asked = torch.device(rung.device), {"depth": rung.depth, "latent": rung.latent}
    asked["train.epochs"] = ENDLESS
    runs = [override(run, asked) for run in pack(rung.models, source.name)]
    whole = load(runs[0].data, source.folder)
    if rung.engine == "jax":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others share the GPU
        os.environ["JAX_PLATFORMS"] = rung.device  # or an error: never a CPU's rate as a GPU's
        from bench.ladder.jax_pack import JaxPack  # an extra

        engine: Engine | JaxPack = JaxPack(runs)
    else:
        engine, _ = choose(runs, device, torch.float32, rung.engine)

    @cache
    def draws(images: int) -> tuple[Draws, Iterator[int]]:
        # Epochs of the first images: noise and order cost their share of whole epochs'. Each epoch
        # follows the one before, as in a training: on a GPU it is drawn ahead.
        return Draws(runs, replace(whole, train=whole.train[:images]), device), count(1)

    def run(images: int) -> float:
        of_images, epochs = draws(images)
        return float(engine.epoch(of_images, next(epochs), 1.0)[0, 0]) / images

    return run


def pack(models: int, data: str = "mnist") -> list[RunConfig]:
    """Trainings of the reference, no two alike: as `hvae run standard` packs them, `CELLS` of a
    seed before the next seed; they differ by their KL weight."""
    return [
        replace(
            REFERENCE,
            train=replace(
                REFERENCE.train, seed=member // CELLS, kl_weight=1.0 + 0.1 * (member % CELLS)
            ),
            data=DataConfig(data),
        )
        for member in range(models)
    ]


def gauge_loop(gauge: Gauge) -> Callable[[int], None]:
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
