"""Images per second of one model alone: training step, inference and sampling, on one device.

Every task is timed at the batch size that the run trains with and at the device's best. It is
warmed up, its repeats calibrated to a time, and the order of cells and tasks drawn anew for each
round, so that a slow moment of the machine hits all alike.
"""

import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from bench.throughput.best_batch import best_batch
from bench.throughput.clock import seconds
from bench.throughput.spread import spread
from bench.throughput.tasks import Task, Work, build, tasks
from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.records.provenance import device_name

ROUNDS = 5
SECONDS_PER_ROUND = 0.02  # of each task at most: twenty thousand times what reading the clock costs

Rates = dict["Job", list[float]]  # images per second, round by round


class Job(NamedTuple):
    """What is timed: a task of one cell at one batch size."""

    cell: int
    task: Task
    batch_size: int


def measure_everywhere(
    cells: Sequence[RunConfig], images: Images, device: str, allowed_seconds: float
) -> list[list[dict[str, Any]]]:
    """`measure` on the CPU, and on CUDA where it is present, even if `device` is what trains.

    A CUDA device that trains nothing and cannot be measured, as when others fill it, is left out.
    """
    measured: list[list[dict[str, Any]]] = [[] for _ in cells]
    names = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    for name in names:
        try:
            rates = measure(cells, images, name, allowed_seconds / len(names))
            for found, more in zip(measured, rates, strict=True):
                found += more
        except RuntimeError as error:  # of CUDA
            if name in ("cpu", device):
                raise
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"no throughput measured on {name}: {reason}", stacklevel=2)
    return measured


def measure(
    cells: Sequence[RunConfig], images: Images, device: str, allowed_seconds: float
) -> list[list[dict[str, Any]]]:
    """Measurements of each cell: task, its engine, batch size, device, threads, median and
    quartiles of images per second. Where the best batch size is the run's own there is one
    measurement for both. The rounds are as long as the allowed seconds let them be.

    The cells differ in their latent size alone: all saturate where the widest of them does.
    """
    widest = max(cells, key=lambda cell: cell.model.latent_dim)
    own = dict.fromkeys(tasks(widest, device), widest.train.batch_size)
    best = {task: best_batch(task, widest, images, device) for task in own}
    length = min(SECONDS_PER_ROUND, allowed_seconds / (2 * len(own) * len(cells) * ROUNDS))
    rates: Rates = {}
    # One after the other, because a captured step keeps all its activations.
    for sizes in (own.items(), best.items() - own.items()):
        jobs = [Job(cell, task, size) for cell in range(len(cells)) for task, size in sorted(sizes)]
        works = {job: build(job.task, cells[job.cell], images, device, job[-1]) for job in jobs}
        rates |= _clock(works, device, length)
        if device == "cuda":
            torch.cuda.empty_cache()  # else the next part, and the training, find it taken
    return [
        [
            _measurement(job, found, device, job.batch_size == best[job.task])
            for job, found in rates.items()
            if job.cell == cell
        ]
        for cell in range(len(cells))
    ]


def _clock(works: Mapping[Job, Work], device: str, length: float) -> Rates:
    """Rates of rounds of such a length, in seconds."""
    repeats = {job: _calibrate(work, device, length) for job, work in works.items()}
    rates: Rates = {job: [] for job in works}
    order, shuffle = list(works), random.Random(0)
    for _ in range(ROUNDS):
        shuffle.shuffle(order)
        for job in order:
            taken = seconds(works[job].call, repeats[job], device)
            rates[job].append(works[job].images * repeats[job] / taken)
    return rates


def _calibrate(work: Work, device: str, length: float) -> int:
    """Warm up, then how many calls fill a round."""
    work.call()
    return max(1, round(length / seconds(work.call, 1, device)))


def _measurement(
    job: Job, rates: Sequence[float], device: str, is_best_batch: bool
) -> dict[str, Any]:
    found = spread(rates)
    return {
        "task": job.task.name,
        "engine": job.task.engine,
        "batch_size": job.batch_size,
        "is_best_batch": is_best_batch,
        "device": device,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "images_per_second": found["median"],
        "lower_quartile": found["lower_quartile"],
        "upper_quartile": found["upper_quartile"],
        "repeats": len(rates),
    }
