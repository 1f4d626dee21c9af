"""The documented loop is the documented one, and every rung trains on the documented loss."""

from collections.abc import Callable

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from bench.documented import REFERENCE, documented_kl, documented_loss
from bench.loops import build_rung, pack, pack_loop
from bench.rungs import BATCH, Rung, Source, cpp_compiler
from hvae import streams
from hvae.stacking import initial
from hvae.training import require_packable

NO_COMPILER = pytest.mark.skipif(cpp_compiler() is None, reason="needs a C++ compiler")
NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
RUNGS = [
    *(Rung(kind, "", kind, 1, "cpu") for kind in ("documented", "in_memory", "fused")),
    Rung("packed_1", "", "pack", 1, "cpu", models=1),
    Rung("packed_7", "", "pack", 1, "cpu", models=7),
    pytest.param(
        Rung("compiled", "", "pack", 1, "cpu", models=2, is_compiled=True),
        marks=[pytest.mark.slow, NO_COMPILER],
    ),
    pytest.param(Rung("captured", "", "pack", 1, "cuda", models=2), marks=NO_CUDA),
]


@pytest.fixture
def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """z = mu, so that a loss does not depend on the order of the images."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(torch, "randn", lambda sizes, **given: torch.zeros(sizes, **given))

    def noise(purpose: str, seed: int, epoch: int, images: int, *shape: int) -> torch.Tensor:
        return torch.zeros(images, *shape)

    monkeypatch.setattr(streams, "noise", noise)


@pytest.fixture
def one_batch(make_source: Callable[[int], Source]) -> Source:
    return make_source(BATCH)


def rebuilt(rung: Rung, source: Source) -> float:
    """The loss of the first window of a rung, before any step."""
    found: list[float] = []
    original = Rung.images

    def record(own: Rung, given: Source) -> int:
        return original(own, given)

    del record
    from bench import loops

    loop = (
        pack_loop(rung.models, source, rung.device, rung.is_compiled)
        if rung.kind == "pack"
        else loops.LOOPS[rung.kind](source.name, source.folder, rung.device)
    )
    found.append(loop(rung.images(source)))
    return found[0]
