"""bench/throughput/tasks.py: the engine's step and the model's own passes are what is timed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.throughput import tasks as module
from bench.throughput.tasks import (
    EPOCH_IMAGES,
    Task,
    build,
    flops_per_image,
    inference,
    module_training,
    repeated,
    sampling,
    tasks,
)
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import load
from hvae.model.hierarchy import HierarchicalVAE, initial
from hvae.model.networks import Decoder
from hvae.model.objectives import Pass
from hvae.native.build import c_compiler
from hvae.training import traced
from hvae.training.draws import Draws
from hvae.training.fit import choose, fit

IMAGES = load(DataConfig("digits"), Path())
ENGINES = (
    "traced",
    pytest.param("compiled", marks=pytest.mark.skipif(not c_compiler(), reason="")),
)


def cell(depth: int = 2, **train: Any) -> RunConfig:
    return RunConfig(ModelConfig(64, 12, 3, depth), TrainConfig(**train), DataConfig("digits"))


def pixels(images: int = 8) -> Tensor:
    return torch.from_numpy(IMAGES.train[:images]).float() / 16


def test_training_is_timed_by_the_engine_that_trains_and_by_the_module() -> None:
    trained_by = fit([cell(epochs=1)], replace(IMAGES, train=IMAGES.train[:64])).engine
    assert tasks(cell(), "cpu") == (
        *(Task("train_step", engine) for engine in (trained_by, "module")),
        *(Task(name, "module") for name in ("inference", "sampling")),
    )
    assert tasks(cell(objective="iwae"), "cpu")[0].engine == "traced"
    assert tasks(cell(), "cuda")[0].engine == "traced"


def test_nothing_is_traced_where_the_step_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced, "make_fx", None)  # what is called raises
    for task in tasks(cell(), "cpu"):
        if task.engine != "traced":  # without a compiler it is
            build(task, cell(), IMAGES, "cpu", 64).call()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("batch", "count"), [(64, 1024), (1000, 1000), (2048, 2048)])
@pytest.mark.usefixtures("untraced")
def test_an_engine_trains_whole_batches_of_the_runs_own_images(
    name: str, batch: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = []

    def remember(*given: Any) -> Any:
        engines.append(choose(*given)[0])
        return engines[0], ""

    monkeypatch.setattr(module, "choose", remember)
    work = build(Task("train_step", name), cell(), IMAGES, "cpu", batch)
    assert work.images == count >= EPOCH_IMAGES["cpu"] - batch
    work.call()
    (engine,), run = engines, replace(cell(), train=TrainConfig(batch_size=batch))
    assert engine.name == name
    other, _ = choose([run], torch.device("cpu"), torch.float32, name)
    other.epoch(Draws([run], repeated(IMAGES, count), torch.device("cpu")), 1, 1.0)
    pairs = zip(engine.model(0).parameters(), other.model(0).parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_images_are_repeated_where_there_are_too_few() -> None:
    count = len(IMAGES.train)
    found = repeated(IMAGES, count + 3).train
    assert np.array_equal(found, np.concatenate([IMAGES.train, IMAGES.train[:3]]))


@pytest.mark.parametrize(("objective", "samples"), [("documented", 1), ("elbo", 1), ("iwae", 3)])
def test_a_step_of_the_module_is_forward_backward_and_adam(
    objective: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []

    def remember(run: RunConfig, means: Tensor) -> HierarchicalVAE:
        models.append(initial(run))
        return models[0]

    monkeypatch.setattr(module, "initial", remember)
    run = cell(objective=objective, importance_samples=samples)
    module_training(run, pixels())()
    for parameter, old in zip(models[0].parameters(), initial(run).parameters(), strict=True):
        assert parameter.grad is not None
        step = run.train.learning_rate * parameter.grad / (parameter.grad.abs() + 1e-8)
        torch.testing.assert_close(parameter, old - step)  # Adam's first


def test_inference_reconstructs_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pass] = []
    forward = HierarchicalVAE.forward

    def watched(self: HierarchicalVAE, x: Tensor, noise: Tensor) -> Pass:
        seen.append(forward(self, x, noise))
        return seen[-1]

    monkeypatch.setattr(HierarchicalVAE, "forward", watched)
    run = cell(3)
    inference(run, pixels())()
    (result,) = seen
    assert result.logits.shape == (8, run.model.input_dim)
    assert len(result.levels) == 3
    assert not result.logits.requires_grad
    mean = initial(run)
    z, _ = mean.encoders[0](pixels())  # without noise a draw is the mean
    torch.testing.assert_close(result.logits.sigmoid(), mean.decoders[0](z))


def test_sampling_comes_down_through_every_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    logits = Decoder.logits

    def watched(self: Decoder, z: Tensor) -> Tensor:
        seen.append(logits(self, z))
        return seen[-1]

    monkeypatch.setattr(Decoder, "logits", watched)
    run = cell(3)
    sampling(run, pixels())()
    sizes = run.model
    widths = [sizes.latent_dim, sizes.latent_dim, sizes.input_dim]
    assert [out.shape for out in seen] == [(8, width) for width in widths]
    assert not seen[-1].requires_grad


@pytest.mark.parametrize("name", ["train_step", "inference", "sampling"])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_flops_are_those_that_torch_counts(name: str, depth: int) -> None:
    run, batch = cell(depth), 8
    work = build(Task(name, "module"), run, IMAGES, "cpu", batch)
    with FlopCounterMode(display=False) as counter:
        work.call()
    assert work.images == batch
    assert counter.get_total_flops() == batch * flops_per_image(name, run)
