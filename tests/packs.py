"""A pack in training epoch by epoch, as `fit` trains it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.training.draws import Draw, Draws, kl_ramp
from hvae.training.fit import choose


def batch(draw: Draw, rows: slice) -> Tensor:
    """Pixels in [0, 1] of a slice of an epoch: [B, D]."""
    return draw.pixels[draw.order[rows]].float() / draw.levels


class Pack:
    """An engine, named or "auto", with what its runs draw."""

    def __init__(
        self,
        runs: Sequence[RunConfig],
        images: Images,
        engine: str,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> None:
        self.runs = runs
        self.draws = Draws(runs, images, torch.device(device))
        self.engine, _ = choose(runs, torch.device(device), dtype, engine)

    def epoch(self, epoch: int) -> Tensor:
        """One pass over the images: sums over images of the terms, [K, 2 + T]."""
        ramp = kl_ramp(epoch, self.runs[0].train.kl_warmup_epochs)
        return self.engine.epoch(self.draws, epoch, ramp)
