"""hvae/training/stacking.py: K models as one, unequal latent sizes padded with zeros."""

import dataclasses
import math
from typing import Any

import pytest
import scipy.stats
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.model.hierarchy import build, initial
from hvae.training.stacking import live_units, stack, unstack, widest

LATENTS = (2, 5, 20)


def run(latent: int = 5, depth: int = 2, hidden: int = 8, **train: Any) -> RunConfig:
    return RunConfig(
        ModelConfig(64, hidden, latent, depth), TrainConfig(**train), DataConfig("digits")
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_unstacking_inverts_stacking_at_every_width(depth: int) -> None:
    runs = [run(latent, depth, seed=latent) for latent in LATENTS]
    models = [initial(member) for member in runs]
    parameters = stack(models, widest(runs))
    for member, (config, model) in enumerate(zip(runs, models, strict=True)):
        back = unstack(parameters, member, config).state_dict()
        assert back.keys() == model.state_dict().keys()
        assert all(torch.equal(back[name], p) for name, p in model.state_dict().items())


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_padding_is_zero_and_everything_else_the_model(depth: int) -> None:
    runs = [run(latent, depth) for latent in LATENTS]
    models = [initial(member) for member in runs]
    for name, stacked in stack(models, widest(runs)).items():
        for own, padded in zip((m.state_dict()[name] for m in models), stacked, strict=True):
            assert padded.count_nonzero() == own.count_nonzero()
            assert padded.abs().sum(dtype=torch.float64).item() == pytest.approx(
                own.abs().sum(dtype=torch.float64).item(),
                rel=1e-14,  # float64 sums of float32
            )


def test_unstacking_gives_a_copy_not_a_view() -> None:
    parameters = stack([initial(run())], run().model)
    model = unstack(parameters, 0, run())
    before = parameters_to_vector(model.parameters()).clone()
    for stacked in parameters.values():
        stacked.zero_()
    assert torch.equal(parameters_to_vector(model.parameters()), before)


def test_live_units_are_ones_for_the_own_units_and_zeros_for_the_padding() -> None:
    live = live_units([run(1), run(3), run(2)], latent=3)
    assert live.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


def test_the_widest_member_decides_the_sizes() -> None:
    assert widest([run(latent) for latent in LATENTS]) == run(20).model


def test_a_built_model_has_its_sizes_its_likelihood_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    model = build(run().model, "mse")
    assert model.config == run().model
    assert model.loss == "mse"
    assert build(run().model, "bce").loss == "bce"
    assert torch.equal(torch.get_rng_state(), state)


def test_the_sizes_and_the_seed_decide_the_initial_weights_and_nothing_else() -> None:
    first = run(seed=1)
    changes: dict[str, Any] = {"loss": "mse", "learning_rate": 0.1, "epochs": 3, "kl_weight": 0.5}
    same = dataclasses.replace(first, train=dataclasses.replace(first.train, **changes))
    weights = [parameters_to_vector(initial(r).parameters()) for r in (first, same, run(seed=2))]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_initial_weights_are_uniform_in_the_bounds_of_pytorch() -> None:
    """As `nn.Linear.reset_parameters`: U(±1/√fan_in), weights and biases alike."""
    model = initial(run(latent=20, depth=3, hidden=50))
    scaled = []
    for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
        bound = 1 / math.sqrt(layer.in_features)
        for parameter in (layer.weight, layer.bias):
            assert parameter.abs().max() <= bound
            scaled.append(parameter.detach().flatten() / bound)
    values = torch.cat(scaled).double().numpy()
    assert scipy.stats.kstest(values, "uniform", args=(-1, 2)).pvalue > 1e-3


def test_initial_weights_are_distributed_as_those_of_pytorch() -> None:
    ours = initial(run(latent=20, hidden=100))
    torch.manual_seed(0)
    theirs = build(run(latent=20, hidden=100).model, "bce")
    for layer in (m for m in theirs.modules() if isinstance(m, nn.Linear)):
        layer.reset_parameters()
    for name, parameter in ours.named_parameters():
        own, other = (p.detach().numpy().ravel() for p in (parameter, theirs.get_parameter(name)))
        assert scipy.stats.ks_2samp(own, other).pvalue > 1e-4, name


def test_no_two_layers_share_their_draws() -> None:
    model = initial(run(latent=8, depth=3))
    first = [p.detach().flatten()[:4] * p.shape[-1] ** 0.5 for p in model.parameters()]
    assert len({tuple(values.tolist()) for values in first}) == len(first)


def test_a_member_keeps_the_precision_it_was_trained_in() -> None:
    config = RunConfig(ModelConfig(64, 4, 2, 1), data=DataConfig("digits"))
    stacked = {name: p.double() for name, p in stack([initial(config)], config.model).items()}
    assert {p.dtype for p in unstack(stacked, 0, config).parameters()} == {torch.float64}
