"""The one training loop, for 1 to K models at once. Shapes: K members.

A pack is K separate trainings: the loss is summed over the members, never averaged, and Adam is
elementwise. Members of a seed share batches and noise, whoever trains beside them. The traced
engine is the reference of the compiled one, and trains what that cannot.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.model.hierarchy import HierarchicalVAE
from hvae.settings import require_packable
from hvae.training.compiled import Compiled, obstacle
from hvae.training.draws import Draws, Engine, kl_ramp
from hvae.training.traced import Traced

ENGINES = ("auto", "traced", "compiled")


@dataclass(frozen=True)
class Fit:
    """Trained models and their histories, both in the order of the runs."""

    models: list[HierarchicalVAE]
    histories: list[list[dict[str, Any]]]
    seconds: float
    engine: str  # that trained them
    declined: str  # why "auto" did not take the compiled one; empty where it did or was not asked


def fit(
    runs: Sequence[RunConfig],
    images: Images,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    engine: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Train K runs as one. They may differ in seed, loss, depth, latent size, learning rate and KL
    settings; raises `ValueError` naming the first other setting that differs. The engine is
    "traced", "compiled", which raises `ValueError` where it cannot train them, or "auto", the
    compiled one where it can."""
    require_packable(runs)
    started = time.perf_counter()
    means = torch.tensor(images.train.mean(0) / images.train_levels)
    trainer, declined = choose(runs, torch.device(device), dtype, engine, means)
    draws, train = Draws(runs, images, torch.device(device)), runs[0].train
    histories: list[list[dict[str, Any]]] = [[] for _ in runs]
    for epoch in range(1, train.epochs + 1):
        epoch_started = time.perf_counter()
        sums = trainer.epoch(draws, epoch, kl_ramp(epoch, train.kl_warmup_epochs))
        share = (time.perf_counter() - epoch_started) / len(runs)
        for run, history, row in zip(runs, histories, sums / len(images.train), strict=True):
            history.append(_entry(epoch, row[: 2 + run.model.num_layers].tolist(), share))
        progress(epoch, train.epochs)
    models = [trainer.model(member) for member in range(len(runs))]
    return Fit(models, histories, time.perf_counter() - started, trainer.name, declined)


def choose(
    runs: Sequence[RunConfig],
    device: torch.device,
    dtype: torch.dtype,
    engine: str,
    pixel_means: Tensor | None = None,
) -> tuple[Engine, str]:
    """The engine for the runs, and why it is not the compiled one where that was wanted; the means
    of the training images [D] are wanted by an output bias from the data. Raises `ValueError` as
    `fit` does."""
    is_compiled, declined = chosen(runs, device, dtype, engine)
    if is_compiled:
        return Compiled(runs, dtype, pixel_means), declined
    return Traced(runs, device, dtype, pixel_means), declined


def chosen(
    runs: Sequence[RunConfig],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    engine: str = "auto",
) -> tuple[bool, str]:
    """Whether the compiled engine trains the runs, all of them or none, and why not where that was
    wanted. Raises `ValueError` as `fit` does."""
    if engine not in ENGINES:
        raise ValueError(f"engine: {engine!r} is not allowed; allowed: {', '.join(ENGINES)}")
    if engine == "traced":
        return False, ""
    reason = next(filter(None, (obstacle(run, device, dtype) for run in runs)), "")
    if reason and engine == "compiled":
        raise ValueError(f"engine: 'compiled' cannot train these runs: {reason}")
    return not reason, reason


def _entry(epoch: int, sums: list[float], seconds: float) -> dict[str, Any]:
    loss, reconstruction, *kl = sums
    return {
        "epoch": epoch,
        "loss": loss,
        "reconstruction_nats": reconstruction,
        "kl_per_level_nats": kl,
        "seconds": seconds,
    }
