"""A pack in training epoch by epoch, as `fit` trains it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.training.draws import Draws, kl_ramp
from hvae.training.fit import choose


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
