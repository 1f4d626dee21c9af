"""What a seed draws for an epoch, the same for every engine. Shapes: N images, D pixels, B batch,
S samples, T levels, L latent."""

from dataclasses import dataclass

from torch import Tensor


def kl_ramp(epoch: int, warmup_epochs: int) -> float:
    """The share of the KL weight in an epoch: from 0 in the first, linear, 1 after the warm-up."""
    return min(1.0, (epoch - 1) / warmup_epochs) if warmup_epochs else 1.0


@dataclass(frozen=True)
class Draw:
    """Images in the order of an epoch, and the noise of each position."""

    pixels: Tensor  # [N, D] uint8
    levels: int
    order: Tensor  # [N]
    noise: Tensor  # [N, S, T, L]

    def batch(self, rows: slice) -> Tensor:
        """Pixels in [0, 1] of a slice of the epoch: [B, D]."""
        return self.pixels[self.order[rows]].float() / self.levels
