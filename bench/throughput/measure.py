"""Images per second of one model alone: training step, inference and sampling, on one device.

Every task is timed at the batch size that the run trains with and at the device's best. It is
warmed up, its repeats calibrated to a fixed time, and the order of cells and tasks drawn anew for
each round, so that a slow moment of the machine hits all alike.
"""

import random
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from bench.throughput.best_batch import best_batch
from bench.throughput.clock import Call, seconds
from bench.throughput.spread import spread
from bench.throughput.tasks import TASKS, build_task
from hvae.config import RunConfig
from hvae.records.provenance import device_name

ROUNDS = 7
SECONDS_PER_ROUND = 0.003  # of each task: a thousand times what reading the clock costs

Rates = dict["Job", list[float]]  # images per second, round by round


class Job(NamedTuple):
    """What is timed: a task of one cell at one batch size."""

    cell: int
    task: str
    batch_size: int


def measure_everywhere(cells: Sequence[RunConfig], device: str) -> list[list[dict[str, Any]]]:
    """`measure` on the CPU, and on CUDA where it is present, even if `device` is what trains.

    A CUDA device that trains nothing and cannot be measured, as when others fill it, is left out.
    """
    measured: list[list[dict[str, Any]]] = [[] for _ in cells]
    for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        try:
            for found, more in zip(measured, measure(cells, name), strict=True):
                found += more
        except RuntimeError as error:  # of CUDA
            if name in ("cpu", device):
                raise
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"no throughput measured on {name}: {reason}", stacklevel=2)
    return measured


def measure(cells: Sequence[RunConfig], device: str) -> list[list[dict[str, Any]]]:
    """Measurements of each cell: task, batch size, device, threads, median and quartiles of images
    per second. Where the best batch size is the run's own there is one measurement for both.

    The cells differ in their latent size alone: all saturate where the widest of them does.
    """
    widest = max(cells, key=lambda cell: cell.model.latent_dim)
    own = dict.fromkeys(TASKS, widest.train.batch_size)
    best = {task: best_batch(task, widest, device) for task in TASKS}
    rates: Rates = {}
    # One after the other, because a captured step keeps all its activations.
    for sizes in (own.items(), best.items() - own.items()):
        jobs = [Job(cell, task, size) for cell in range(len(cells)) for task, size in sorted(sizes)]
        rates |= _clock(jobs, cells, device)
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


def _clock(jobs: Sequence[Job], cells: Sequence[RunConfig], device: str) -> Rates:
    calls = {job: build_task(job.task, cells[job.cell], device, job.batch_size) for job in jobs}
    repeats = {job: _calibrate(call, device) for job, call in calls.items()}
    rates: Rates = {job: [] for job in jobs}
    order, shuffle = list(jobs), random.Random(0)
    for _ in range(ROUNDS):
        shuffle.shuffle(order)
        for job in order:
            taken = seconds(calls[job], repeats[job], device)
            rates[job].append(job.batch_size * repeats[job] / taken)
    return rates


def _calibrate(call: Call, device: str) -> int:
    """Warm up, then how many calls fill `SECONDS_PER_ROUND`."""
    call()
    return max(1, round(SECONDS_PER_ROUND / seconds(call, 1, device)))


def _measurement(
    job: Job, rates: Sequence[float], device: str, is_best_batch: bool
) -> dict[str, Any]:
    found = spread(rates)
    return {
        "task": job.task,
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
