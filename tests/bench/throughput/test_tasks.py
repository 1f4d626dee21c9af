"""bench/throughput/tasks.py: the engine's step and the model's own passes are what is timed."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.throughput import tasks
from bench.throughput.tasks import (
    TASKS,
    build_task,
    flops_per_image,
    grey,
    inference,
    sampling,
    training_step,
)
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.model import HierarchicalVAE, initial
from hvae.objectives import Pass
from hvae.training import traced


def cell(depth: int = 2, **train: Any) -> RunConfig:
    return RunConfig(ModelConfig(64, 12, 3, depth), TrainConfig(**train), DataConfig("digits"))


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing costs more than all else here, and changes no result."""
    monkeypatch.setattr(traced, "make_fx", lambda step: lambda *arguments: step)


@pytest.mark.parametrize(("objective", "samples"), [("documented", 1), ("iwae", 3)])
@pytest.mark.usefixtures("untraced")
def test_a_training_step_moves_the_parameters(
    objective: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = remembered(monkeypatch)
    call = training_step(cell(objective=objective, importance_samples=samples), "cpu", 8)
    before = {name: p.clone() for name, p in groups[0].parameters.items()}
    call()
    assert all(not torch.equal(p, before[name]) for name, p in groups[0].parameters.items())


def remembered(patch: pytest.MonkeyPatch) -> list[traced.Group]:
    """The groups of every engine made from now on."""
    groups: list[traced.Group] = []

    class Remembered(traced.Group):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            groups.append(self)

    patch.setattr(tasks, "Group", Remembered)
    return groups


def test_a_training_step_is_the_engines() -> None:
    run = cell()
    with pytest.MonkeyPatch.context() as patch:
        groups = remembered(patch)
        training_step(run, "cpu", 8)()
    plain = traced.Group([run], [0], run.model, [0], torch.device("cpu"))
    for _ in range(2):  # one to trace, one for the call
        plain.step(grey(run, "cpu", 8)[None], torch.zeros(1, 8, 1, 2, 3))
    for name, parameter in plain.parameters.items():
        assert torch.equal(parameter, groups[0].parameters[name])


def test_inference_reconstructs_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pass] = []
    forward = HierarchicalVAE.forward

    def watched(self: HierarchicalVAE, x: Tensor, noise: Tensor) -> Pass:
        seen.append(forward(self, x, noise))
        return seen[-1]

    monkeypatch.setattr(HierarchicalVAE, "forward", watched)
    run = cell(3)
    inference(run, "cpu", 8)()
    (result,) = seen
    assert result.logits.shape == (8, run.model.input_dim)
    assert len(result.levels) == 3
    assert not result.logits.requires_grad
    x, mean = torch.full((8, 64), 0.5), initial(run)
    z, _ = mean.encoders[0](x)  # without noise a draw is the mean
    torch.testing.assert_close(result.logits.sigmoid(), mean.decoders[0](z))


def test_sampling_comes_down_through_every_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, Tensor]] = []
    decode = HierarchicalVAE.decode

    def watched(self: HierarchicalVAE, level: int, z: Tensor) -> Tensor:
        seen.append((level, decode(self, level, z)))
        return seen[-1][1]

    monkeypatch.setattr(HierarchicalVAE, "decode", watched)
    run = cell(3)
    sampling(run, "cpu", 8)()
    assert [level for level, _ in seen] == [2, 1, 0]
    assert seen[-1][1].shape == (8, run.model.input_dim)
    assert not seen[-1][1].requires_grad


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.usefixtures("untraced")
def test_the_flops_are_those_that_torch_counts(task: str, depth: int) -> None:
    run, batch = cell(depth), 8
    call = build_task(task, run, "cpu", batch)
    with FlopCounterMode(display=False) as counter:
        call()
    assert counter.get_total_flops() == batch * flops_per_image(task, run)
