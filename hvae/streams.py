"""Named random streams. The suite never touches the global generator.

Order and noise depend on the seed (and epoch) alone, never on the model or on who trains beside
it, so that all cells of a seed see the same batches and the same noise, alone or packed. Everything
is drawn on the CPU: a GPU sees the same numbers.
"""

import hashlib

import torch
from torch import Tensor


def stream(purpose: str, *numbers: int) -> torch.Generator:
    """A CPU generator that its name alone determines."""
    name = ":".join([purpose, *map(str, numbers)])
    generator = torch.Generator()
    # The CPU's Mersenne twister takes 32 bits of seed; more would be dropped in silence.
    generator.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
    return generator


def order(seed: int, epoch: int, images: int) -> Tensor:
    """In which order an epoch visits the training images: [N] indices."""
    return torch.randperm(images, generator=stream("order", seed, epoch))


def noise(purpose: str, seed: int, epoch: int, images: int, layers: int, latent: int) -> Tensor:
    """Standard normal noise of one epoch: [N, T, L], a unit at a time.

    `randn` depends on the shape asked for, so every unit is drawn in the one shape [N], levels in
    streams of their own: a narrower or shallower model sees the leading units and levels of a
    wider or deeper one.
    """
    drawn = torch.empty(layers, latent, images)
    for level in range(layers):
        generator = stream(purpose, seed, epoch, level)
        for unit in range(latent):
            torch.randn(images, generator=generator, out=drawn[level, unit])
    return drawn.permute(2, 0, 1).contiguous()
