"""A captured step is the eager step. What it restores is tested without GPU."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from packs import Pack
from torch import Tensor

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.training.cuda_graph import CapturedStep
from hvae.training.draws import Draws


def runs(objective: str = "documented") -> list[RunConfig]:
    """A pack of both losses, two latent sizes, two seeds, two learning rates and two depths."""
    samples = 3 if objective == "iwae" else 1
    warmup = 0 if objective == "iwae" else 10  # epochs: the KL weight changes between replays
    common: dict[str, Any] = {"objective": objective, "importance_samples": samples}
    common |= {"batch_size": 16, "kl_warmup_epochs": warmup}
    members: list[tuple[int, int, dict[str, Any]]] = [
        (2, 2, {"loss": "bce", "seed": 0}),
        (5, 2, {"loss": "mse", "seed": 1}),
        (5, 2, {"loss": "bce", "seed": 1, "learning_rate": 3e-3}),
        (5, 3, {"loss": "bce", "seed": 1}),
    ]
    return [
        RunConfig(
            ModelConfig(64, 12, latent, depth), TrainConfig(**own, **common), DataConfig("digits")
        )
        for latent, depth, own in members
    ]


def pack(images: Images, device: str, objective: str = "documented") -> Pack:
    return Pack(runs(objective), images, "traced", torch.float32, device)


def state(trained: Pack) -> list[Tensor]:
    return [tensor.clone() for tensor in trained.engine._state()]


@pytest.mark.cuda
@pytest.mark.parametrize("objective", ["documented", "elbo", "iwae"])
def test_a_hundred_captured_steps_are_bitwise_the_eager_ones(
    objective: str, few_digits: Images
) -> None:
    captured, eager = (pack(few_digits, "cuda", objective) for _ in range(2))
    eager.engine.step = eager.engine._step
    for epoch in range(1, 21):  # of 5 steps, the last of 6 images
        assert torch.equal(captured.epoch(epoch), eager.epoch(epoch))
    assert isinstance(captured.engine.step, CapturedStep)
    assert not isinstance(eager.engine.step, CapturedStep)
    assert all(torch.equal(*pair) for pair in zip(state(captured), state(eager), strict=True))


@pytest.mark.cuda
@pytest.mark.parametrize("objective", ["documented", "elbo", "iwae"])
def test_a_gpu_trains_what_a_cpu_trains(objective: str, few_digits: Images) -> None:
    """The same numbers are drawn; sums of 784 float32 terms in another order differ by 1e-6."""
    on_gpu, on_cpu = (pack(few_digits, device, objective) for device in ("cuda", "cpu"))
    for epoch in range(1, 5):
        torch.testing.assert_close(on_gpu.epoch(epoch), on_cpu.epoch(epoch), rtol=1e-5, atol=1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_threads_draw_what_is_drawn_in_line(binarize: str, few_digits: Images) -> None:
    asked = [replace(run, data=DataConfig("digits", binarize)) for run in runs()]
    ahead, inline = (Draws(asked, few_digits, torch.device(name)) for name in ("cuda", "cpu"))
    for epoch in range(1, 4):
        for one, other in zip(ahead.all([0, 1], epoch), inline.all([0, 1], epoch), strict=True):
            assert torch.equal(one.pixels.cpu(), other.pixels)
            assert torch.equal(one.order, other.order)
            assert torch.equal(one.noise, other.noise)
    assert list(ahead.ahead) == [4]  # what threads are at


@pytest.mark.cuda
def test_a_graph_is_captured_once_for_each_batch_size(few_digits: Images) -> None:
    trained = pack(few_digits, "cuda")
    for epoch in (1, 2):
        trained.epoch(epoch)
    assert isinstance(trained.engine.step, CapturedStep)
    assert sorted(trained.engine.step.graphs) == [((6,),), ((16,),)]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("objective", ["documented", "iwae"])
def test_restoring_the_state_undoes_steps(objective: str, few_digits: Images) -> None:
    """As a capture does after its warm-up: whatever a step writes must be in the state."""
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


@pytest.mark.usefixtures("untraced")
def test_the_state_is_all_there_before_the_first_step(few_digits: Images) -> None:
    trained = pack(few_digits, "cpu")
    addresses = [tensor.data_ptr() for tensor in trained.engine._state()]
    trained.epoch(1)
    written = [tensor.data_ptr() for tensor in trained.engine._state()]
    assert written == addresses  # in place
