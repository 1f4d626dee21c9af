"""Images per second of one model alone: training step, inference and sampling, on one device.

Every task is timed at the batch size that the run trains with and at the device's best. It is
warmed up, its repeats calibrated to a time, and the order of cells and tasks drawn anew for each
round, so that a slow moment of the machine hits all alike.
"""

import gc
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
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

    All cells are timed side by side: what the machine does meanwhile hits depths and sizes alike.
    """
    best = _best_batches(cells, images, device)
    own = {Job(i, t, cells[i].train.batch_size) for i, sizes in enumerate(best) for t in sizes}
    at_best = {job._replace(batch_size=best[job.cell][job.task]) for job in own}
    length = min(SECONDS_PER_ROUND, allowed_seconds / (2 * len(own) * ROUNDS))
    rates: Rates = {}
    # One after the other, because a captured step keeps all its activations.
    for jobs in (own, at_best - own):
        works = {
            job: build(job.task, cells[job.cell], images, device, job.batch_size)
            for job in sorted(jobs)
        }
        rates |= _clock(works, device, length)
        if device == "cuda":  # else the next part, and the training, find it taken
            works.clear()
            gc.collect()  # a captured step is part of a circle
            torch.cuda.empty_cache()
    return [
        [
            _measurement(job, found, device, job in at_best)
            for job, found in rates.items()
            if job.cell == cell
        ]
        for cell in range(len(cells))
    ]


def _best_batches(cells: Sequence[RunConfig], images: Images, device: str) -> list[dict[Task, int]]:
    """The tasks of each cell and their best batches, searched once for cells that differ in the
    latent size alone: all saturate where the widest of them does."""
    alike = [replace(c, model=replace(c.model, latent_dim=1, latent_dims=())) for c in cells]
    by_width = sorted(zip(alike, cells, strict=True), key=lambda pair: pair[1].model.latent_dim)
    found = {
        shape: {task: best_batch(task, widest, images, device) for task in tasks(widest, device)}
        for shape, widest in dict(by_width).items()
    }
    return [found[shape] for shape in alike]


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
