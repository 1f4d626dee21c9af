"""Images per second of one model alone: training step and inference, on one device.

Every task is warmed up, its repeats calibrated to a fixed time, and the order of all cells and
tasks drawn anew for each round, so that a slow moment of the machine hits all alike.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hvae.capture import CapturedStep
from hvae.config import RunConfig
from hvae.environment import device_name
from hvae.stacking import initial
from hvae.training import Group

ROUNDS = 7
SECONDS_PER_ROUND = 0.01  # of each task: a hundred times the clock's error

Call = Callable[[], None]


@dataclass(frozen=True)
class Timed:
    """A task ready to be timed: `call` handles `batch_size` images."""

    cell: int
    task: str
    batch_size: int
    call: Call


def measure(cells: Sequence[RunConfig], device: str) -> list[list[dict[str, Any]]]:
    """Measurements of each cell: task, device, threads, median and quartiles of images/second."""
    timed = [task for cell, run in enumerate(cells) for task in _tasks(cell, run, device)]
    repeats = [_calibrate(task.call, device) for task in timed]
    rates: list[list[float]] = [[] for _ in timed]
    order, shuffle = list(range(len(timed))), random.Random(0)
    for _ in range(ROUNDS):
        shuffle.shuffle(order)
        for index in order:
            seconds = _seconds(timed[index].call, repeats[index], device)
            rates[index].append(timed[index].batch_size * repeats[index] / seconds)
    measurements: list[list[dict[str, Any]]] = [[] for _ in cells]
    for task, found in zip(timed, rates, strict=True):
        measurements[task.cell].append(_measurement(task, found, device))
    return measurements


def _tasks(cell: int, run: RunConfig, device: str) -> list[Timed]:
    size = run.train.batch_size
    return [
        Timed(cell, "train_step", size, training_step(run, device)),
        Timed(cell, "inference", size, inference(run, device)),
    ]


def training_step(run: RunConfig, device: str) -> Call:
    """One Adam step of the engine, for a pack of one, on a fixed batch."""
    group = Group([run], [0], run.model, [run.train.seed], torch.device(device))
    samples, levels, latent = run.train.importance_samples, run.model.num_layers, run.model
    x = torch.full((1, run.train.batch_size, run.model.input_dim), 0.5, device=device)
    shape = (1, run.train.batch_size, samples, levels, latent.latent_dim)
    noise = torch.zeros(shape, device=device)
    if device == "cuda":  # as the engine does there
        captured = CapturedStep(group.step, [*group.optimizer.state, group.sums])
        return lambda: captured(x, noise)
    return lambda: group.step(x, noise)


def inference(run: RunConfig, device: str) -> Call:
    """Encode a fixed batch through all levels and reconstruct it."""
    model = initial(run).to(device)
    x = torch.full((run.train.batch_size, run.model.input_dim), 0.5, device=device)
    shape = (run.train.batch_size, run.model.num_layers, run.model.latent_dim)
    noise = torch.zeros(shape, device=device)

    @torch.no_grad()
    def call() -> None:
        model(x, noise).logits.sigmoid()

    return call


def _calibrate(call: Call, device: str) -> int:
    """Warm up, then how many calls fill `SECONDS_PER_ROUND`."""
    for _ in range(3):
        call()
    once = _seconds(call, 3, device) / 3
    return max(1, round(SECONDS_PER_ROUND / once))


def _seconds(call: Call, repeats: int, device: str) -> float:
    """Wall seconds of `repeats` calls, the device idle at both ends."""
    _synchronize(device)
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronize(device)
    return time.perf_counter() - started


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _measurement(task: Timed, rates: list[float], device: str) -> dict[str, Any]:
    lower, median, upper = statistics.quantiles(rates, n=4)
    return {
        "task": task.task,
        "batch_size": task.batch_size,
        "device": device,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "images_per_second": median,
        "lower_quartile": lower,
        "upper_quartile": upper,
        "repeats": len(rates),
    }
