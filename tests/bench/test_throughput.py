"""bench/throughput.py: it times the engine's step and the model's pass, with a fair clock."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bench import throughput
from bench.throughput import inference, measure, training_step
from hvae import training
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.environment import device_name
from hvae.model import HierarchicalVAE
from hvae.objectives import Pass
from hvae.stacking import initial

KEYS = {
    *("task", "batch_size", "device", "device_name", "threads", "repeats"),
    *("images_per_second", "lower_quartile", "upper_quartile"),
}


def cell(depth: int = 2, batch_size: int = 8, **train: Any) -> RunConfig:
    options = TrainConfig(batch_size=batch_size, **train)
    return RunConfig(ModelConfig(64, 12, 3, depth), options, DataConfig("digits"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that repeats as little as it can."""
    monkeypatch.setattr(throughput, "SECONDS_PER_ROUND", 1e-4)
    monkeypatch.setattr(training, "make_fx", lambda step: lambda *arguments: step)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """What the model returned, call by call."""
    seen: list[Pass] = []
    forward = HierarchicalVAE.forward

    def watched(self: HierarchicalVAE, x: Tensor, noise: Tensor) -> Pass:
        seen.append(forward(self, x, noise))
        return seen[-1]

    monkeypatch.setattr(HierarchicalVAE, "forward", watched)
    return seen


@pytest.mark.usefixtures("quick")
def test_each_cell_has_both_tasks_with_ordered_positive_quartiles() -> None:
    cells = [cell(1), cell(3, batch_size=4, loss="mse", seed=5)]
    measured = measure(cells, "cpu")
    assert len(measured) == len(cells)
    for run, found in zip(cells, measured, strict=True):
        assert [values["task"] for values in found] == ["train_step", "inference"]
        for values in found:
            assert values.keys() == KEYS
            assert 0 < values["lower_quartile"] <= values["images_per_second"]
            assert values["images_per_second"] <= values["upper_quartile"]
            assert values["batch_size"] == run.train.batch_size
            assert values["repeats"] == throughput.ROUNDS
            assert (values["device"], values["device_name"]) == ("cpu", device_name("cpu"))
            assert values["threads"] == torch.get_num_threads()


@pytest.mark.usefixtures("quick")
def test_the_rate_is_images_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of our own: calls of 0.25 s are 8 images in 0.25 s each."""
    monkeypatch.setattr(throughput, "_seconds", lambda call, repeats, device: 0.25 * repeats)
    for values in measure([cell()], "cpu")[0]:
        assert values["images_per_second"] == 8 / 0.25
        assert values["lower_quartile"] == values["upper_quartile"] == 8 / 0.25


def test_repeats_fill_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_seconds", lambda call, repeats, device: 1e-4 * repeats)
    assert throughput._calibrate(lambda: None, "cpu") == round(throughput.SECONDS_PER_ROUND / 1e-4)
    monkeypatch.setattr(throughput, "_seconds", lambda call, repeats, device: 60.0 * repeats)
    assert throughput._calibrate(lambda: None, "cpu") == 1


def test_every_round_times_every_task_once_in_an_order_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[Any] = []

    def seconds(call: Any, repeats: int, device: str) -> float:
        timed.append(call)
        return 1.0

    monkeypatch.setattr(throughput, "_seconds", seconds)
    monkeypatch.setattr(throughput, "_calibrate", lambda call, device: 1)
    measure([cell(1), cell(2), cell(3)], "cpu")
    rounds = [timed[start : start + 6] for start in range(0, len(timed), 6)]
    assert len(rounds) == throughput.ROUNDS
    assert all(set(calls) == set(rounds[0]) for calls in rounds)
    assert len({tuple(map(id, calls)) for calls in rounds}) > 1


@pytest.mark.parametrize(("objective", "samples"), [("documented", 1), ("iwae", 3)])
@pytest.mark.usefixtures("quick")
def test_a_training_step_moves_the_parameters(
    objective: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[training.Group] = []

    def remember(*arguments: Any) -> training.Group:
        groups.append(training.Group(*arguments))
        return groups[-1]

    monkeypatch.setattr(throughput, "Group", remember)
    call = training_step(cell(objective=objective, importance_samples=samples), "cpu")
    before = {name: p.clone() for name, p in groups[0].parameters.items()}
    call()
    assert all(not torch.equal(p, before[name]) for name, p in groups[0].parameters.items())


def test_inference_reconstructs_its_batch(passes: list[Pass]) -> None:
    run = cell(3)
    inference(run, "cpu")()
    (result,) = passes
    assert result.logits.shape == (run.train.batch_size, run.model.input_dim)
    assert len(result.levels) == 3
    assert not result.logits.requires_grad
    x, mean = torch.full((8, 64), 0.5), initial(run)
    z, _ = mean.encoders[0](x)  # without noise a draw is the mean
    torch.testing.assert_close(result.logits.sigmoid(), mean.decoders[0](z))
