"""What the seeds of a pack draw for an epoch, the same for every engine, and what an engine is.
Shapes: K members, N images, D pixels, B batch, S samples, T levels, L latent."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hvae import streams
from hvae.config import RunConfig
from hvae.data.images import Images, binarize
from hvae.model.hierarchy import HierarchicalVAE
from hvae.training.stacking import widest


def kl_ramp(epoch: int, warmup_epochs: int) -> float:
    """The share of the KL weight in an epoch: from 0 in the first, linear, 1 after the warm-up."""
    return min(1.0, (epoch - 1) / warmup_epochs) if warmup_epochs else 1.0


@dataclass(frozen=True)
class Draw:
    """Images, the order of an epoch, and the noise of each position in it."""

    pixels: Tensor  # [N, D] uint8
    levels: int
    order: Tensor  # [N]
    noise: Tensor  # [N, S, T, L]


class Draws:
    """The training images of a pack on their device, and what its seeds draw from them."""

    def __init__(self, runs: Sequence[RunConfig], images: Images, device: torch.device) -> None:
        self.images, self.device, self.sizes = images, device, widest(runs)
        self.samples = runs[0].train.importance_samples
        is_dynamic = runs[0].data.binarize == "dynamic"
        self.pixels = None if is_dynamic else torch.from_numpy(images.train).to(device)
        self.epochs = runs[0].train.epochs
        self.threads = ThreadPoolExecutor()  # starts one where it is given something to do
        self.ahead: dict[int, list[Future[Draw]]] = {}

    def all(self, seeds: Sequence[int], epoch: int) -> Iterator[Draw]:
        """What each of the seeds sees in one epoch. While cuda trains on it, threads draw for the
        next: the device would wait longer for its noise than it trains. They call nothing of CUDA,
        not even for pinned memory: a graph that is captured meanwhile would break."""
        if self.device.type == "cpu":  # its cores have work to do, and one at a time takes no room
            yield from (self.draw(seed, epoch) for seed in seeds)
            return
        drawn = self.ahead.pop(epoch, None) or self._start(seeds, epoch)
        if epoch < self.epochs:
            self.ahead[epoch + 1] = self._start(seeds, epoch + 1)
        yield from (future.result() for future in drawn)

    def _start(self, seeds: Sequence[int], epoch: int) -> list[Future[Draw]]:
        return [self.threads.submit(self.draw, seed, epoch) for seed in seeds]

    def draw(self, seed: int, epoch: int) -> Draw:
        """What one seed sees in one epoch, the same for every member and every pack; fresh draws
        are on the CPU."""
        images, sizes = len(self.images.train), self.sizes
        order = streams.order(seed, epoch, images)
        noise = streams.noise(
            "noise", seed, epoch, images * self.samples, sizes.num_layers, sizes.latent_dim
        ).reshape(images, self.samples, sizes.num_layers, -1)
        if self.pixels is not None:
            return Draw(self.pixels, self.images.train_levels, order, noise)
        generator = streams.stream("dynamic", seed, epoch)
        pixels = binarize(self.images.train, self.images.train_levels, generator)
        return Draw(torch.from_numpy(pixels), 1, order, noise)


class Engine(Protocol):
    """K models in training: `Traced` of traced.py or `Compiled` of compiled.py."""

    name: str

    def epoch(self, draws: Draws, epoch: int, ramp: float) -> Tensor:
        """One pass over the images, each KL weight at `ramp` of what it is in the end: sums over
        images of loss, reconstruction and the KL of each level, [K, 2 + T]; 0 for levels that a
        member has not."""

    def model(self, member: int) -> HierarchicalVAE:
        """A member as it stands, at its own size, on the CPU."""
