"""A captured step is the eager step. What it restores is tested without GPU."""

from typing import Any

import pytest
import torch
from packs import Pack
from torch import Tensor

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.training import traced
from hvae.training.cuda_graph import CapturedStep

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs CUDA; run on a machine with an NVIDIA GPU"
)


def runs(objective: str = "documented") -> list[RunConfig]:
    """A pack of both losses, two latent sizes, two seeds and two learning rates."""
    samples = 3 if objective == "iwae" else 1
    warmup = 0 if objective == "iwae" else 10  # epochs: the KL weight changes between replays
    common: dict[str, Any] = {"objective": objective, "importance_samples": samples}
    common |= {"batch_size": 16, "kl_warmup_epochs": warmup}
    members: list[tuple[int, dict[str, Any]]] = [
        (2, {"loss": "bce", "seed": 0}),
        (5, {"loss": "mse", "seed": 1}),
        (5, {"loss": "bce", "seed": 1, "learning_rate": 3e-3}),
    ]
    return [
        RunConfig(
            ModelConfig(64, 12, latent, 2), TrainConfig(**own, **common), DataConfig("digits")
        )
        for latent, own in members
    ]


def pack(images: Images, device: str, objective: str = "documented") -> Pack:
    return Pack(runs(objective), images, "traced", torch.float32, device)


def state(trained: Pack) -> list[Tensor]:
    return [tensor.clone() for tensor in trained.engine._state()]


@needs_cuda
@pytest.mark.parametrize("objective", ["documented", "elbo", "iwae"])
def test_a_hundred_captured_steps_are_bitwise_the_eager_ones(
    objective: str, few_digits: Images
) -> None:
    captured, eager = (pack(few_digits, "cuda", objective) for _ in range(2))
    eager.engine.step = eager.engine._step
    for epoch in range(1, 21):  # of 5 steps, the last of 6 images
        assert torch.equal(captured.epoch(epoch), eager.epoch(epoch))
    assert all(torch.equal(*pair) for pair in zip(state(captured), state(eager), strict=True))


@needs_cuda
def test_a_graph_is_captured_once_for_each_batch_size(few_digits: Images) -> None:
    trained = pack(few_digits, "cuda")
    for epoch in (1, 2):
        trained.epoch(epoch)
    assert isinstance(trained.engine.step, CapturedStep)
    assert sorted(trained.engine.step.graphs) == [((6,),), ((16,),)]


@pytest.mark.parametrize("objective", ["documented", "iwae"])
def test_restoring_the_state_undoes_steps(
    objective: str, few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a capture does after its warm-up: whatever a step writes must be in the state."""
    monkeypatch.setattr(traced, "make_fx", lambda step: lambda *arguments: step)
    trained, straight = (pack(few_digits, "cpu", objective) for _ in range(2))
    trained.epoch(1)
    straight.epoch(1)
    before = state(trained)
    trained.epoch(2)
    assert not any(torch.equal(*pair) for pair in zip(state(trained), before, strict=True))
    for tensor, saved in zip(trained.engine._state(), before, strict=True):
        tensor.copy_(saved)
    assert torch.equal(trained.epoch(3), straight.epoch(3))
    assert all(torch.equal(*pair) for pair in zip(state(trained), state(straight), strict=True))


def test_the_state_is_all_there_before_the_first_step(
    few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "make_fx", lambda step: lambda *arguments: step)
    trained = pack(few_digits, "cpu")
    addresses = [tensor.data_ptr() for tensor in trained.engine._state()]
    trained.epoch(1)
    written = [tensor.data_ptr() for tensor in trained.engine._state()]
    assert written == addresses  # in place
