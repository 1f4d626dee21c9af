"""A test set in blocks of images, each with the noise that every model of a call sees.

Shapes: S samples, s of them at once, B images of a block, n images, D pixels, T levels, L latent.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.config import FEW_SAMPLES
from hvae.data.images import Images
from hvae.evaluation.likelihood import Target
from hvae.model.hierarchy import HierarchicalVAE

BLOCK_IMAGES = 100  # images and samples that share a draw of noise: part of its definition
BLOCK_SAMPLES = FEW_SAMPLES
GPU_ROWS = 100_000  # draws of images that a GPU takes at once: 0.3 GB of logits at 784 pixels
SCOREBOARD = "scoreboard_"  # begins the names of what is said of the binarised test images


class Inputs(NamedTuple):
    """A block of the test set and the noise that every model sees with it."""

    stop: int  # images up to its end
    x: Tensor  # [B, D]
    binary: Tensor  # [B, D]
    noise: list[Tensor]  # [s, B, T, L] each, as many draws in all as were asked for
    is_binary: bool  # all of the test set, and `binary` the same images

    def targets(self, model: HierarchicalVAE) -> dict[str, Target]:
        """The images as the model was trained on them, and as all models are compared by them, by
        what the names of their metrics begin with; one of them where both are the same."""
        targets = {"": Target(self.x, model.loss, model.logvar)}
        if model.loss != "bce" or not self.is_binary:
            pixels = "mean" if model.loss == "continuous-bernoulli" else "bce"
            targets[SCOREBOARD] = Target(self.binary, pixels)
        return targets


def own_noise(noise: Sequence[Tensor], model: HierarchicalVAE) -> list[Tensor]:
    """The leading levels and units of noise [s, B, T, L], as many as the model has."""
    sizes = model.config
    return [part[..., : sizes.num_layers, : sizes.latent_dim] for part in noise]


class BlockSource(NamedTuple):
    """Where the blocks of a test set and their noise come from."""

    models: Sequence[HierarchicalVAE]
    images: Images
    device: torch.device

    def blocks(self, purpose: str, rows: Tensor, samples: int) -> Iterator[Inputs]:
        """The test images of the rows [n] with noise for so many draws: a block at a time, on a
        GPU, which that would not fill, several as one."""
        at_once = GPU_ROWS // BLOCK_SAMPLES if self.device.type == "cuda" else BLOCK_IMAGES
        levels = self.images.test_levels
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once].numpy()
            x = torch.tensor(self.images.test[part], device=self.device).float()
            binary = torch.tensor(self.images.test_binary[part], device=self.device).float()
            noise = self.noise(purpose, start, len(part), samples)
            yield Inputs(start + len(part), x / levels, binary, noise, self.images.is_test_binary)

    def noise(self, purpose: str, start: int, images: int, samples: int) -> list[Tensor]:
        """Standard normal noise of the images from there on, for the deepest and the widest of the
        models: [s, B, T, L] each, so many samples in all; s is larger on a GPU."""
        blocks = [
            self._block_noise(purpose, start + first, min(BLOCK_IMAGES, images - first), samples)
            for first in range(0, images, BLOCK_IMAGES)
        ]
        noise = [torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True)]
        if self.device.type == "cpu":
            return noise
        at_once = max(1, GPU_ROWS // (images * BLOCK_SAMPLES))
        return [torch.cat(noise[n : n + at_once]) for n in range(0, len(noise), at_once)]

    def _block_noise(self, purpose: str, start: int, images: int, samples: int) -> list[Tensor]:
        layers = max(model.config.num_layers for model in self.models)
        latent = max(model.config.latent_dim for model in self.models)
        parts = []
        for done in range(0, samples, BLOCK_SAMPLES):
            drawn = streams.noise(purpose, start, done, BLOCK_SAMPLES * images, layers, latent)
            part = drawn.reshape(BLOCK_SAMPLES, images, layers, latent)
            parts.append(part[: samples - done].to(self.device))
        return parts
