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
from hvae.model import HierarchicalVAE

BLOCK_IMAGES = 100  # images and samples that share a draw of noise: part of its definition
BLOCK_SAMPLES = FEW_SAMPLES
SCOREBOARD = "scoreboard_"  # begins the names of what is said of the binarised test images


class Inputs(NamedTuple):
    """A block of the test set and the noise that every model sees with it."""

    stop: int  # images up to its end
    x: Tensor  # [B, D]
    binary: Tensor  # [B, D]
    noise: list[Tensor]  # [s, B, T, L] each, as many draws in all as were asked for

    def own_noise(self, model: HierarchicalVAE) -> list[Tensor]:
        """The leading levels and units, as many as the model has."""
        sizes = model.config
        return [part[..., : sizes.num_layers, : sizes.latent_dim] for part in self.noise]

    def targets(self, model: HierarchicalVAE) -> dict[str, Target]:
        """The images as the model was trained on them, and as all models are compared by them, by
        what the names of their metrics begin with; one of them where both are the same."""
        targets = {"": Target(self.x, model.loss)}
        if model.loss != "bce" or not torch.equal(self.x, self.binary):
            targets[SCOREBOARD] = Target(self.binary, "bce")
        return targets


class BlockSource(NamedTuple):
    """Where the blocks of a test set and their noise come from."""

    models: Sequence[HierarchicalVAE]
    images: Images
    device: torch.device

    def blocks(self, purpose: str, rows: Tensor, samples: int) -> Iterator[Inputs]:
        """The test images of the rows [n], a block at a time, with noise for so many draws."""
        for start in range(0, len(rows), BLOCK_IMAGES):
            part = rows[start : start + BLOCK_IMAGES].numpy()
            x = torch.tensor(self.images.test[part], device=self.device).float()
            binary = torch.tensor(self.images.test_binary[part], device=self.device).float()
            noise = self._noise(purpose, start, len(part), samples)
            yield Inputs(start + len(part), x / self.images.test_levels, binary, noise)

    def _noise(self, purpose: str, start: int, images: int, samples: int) -> list[Tensor]:
        layers = max(model.config.num_layers for model in self.models)
        latent = max(model.config.latent_dim for model in self.models)
        parts = []
        for done in range(0, samples, BLOCK_SAMPLES):
            drawn = streams.noise(purpose, start, done, BLOCK_SAMPLES * images, layers, latent)
            part = drawn.reshape(BLOCK_SAMPLES, images, layers, latent)
            parts.append(part[: samples - done].to(self.device))
        return parts
