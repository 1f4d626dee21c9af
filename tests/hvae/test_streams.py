"""hvae/streams.py: what a stream gives depends on its name alone."""

import itertools
import random
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.streams import noise, order, stream
from hvae.training.fit import fit

NAMES: list[Any] = [
    ("order", 0, 1),
    ("order", 1, 0),
    ("order", 0, 11),
    ("order", 1, 11),
    ("order", 11, 1),  # the same digits in a row
    ("noise", 0, 1),
]


def run(**train: Any) -> RunConfig:
    options = TrainConfig(epochs=2, batch_size=35, **train)
    return RunConfig(ModelConfig(64, 8, 3, 2), options, DataConfig("digits", "dynamic"))


def test_a_name_always_gives_the_same_numbers() -> None:
    first, second = (torch.randn(9, generator=stream("order", 3, 4)) for _ in range(2))
    assert torch.equal(first, second)


def test_different_names_give_different_numbers() -> None:
    drawn = [tuple(torch.randn(9, generator=stream(*name)).tolist()) for name in NAMES]
    assert len(set(drawn)) == len(NAMES)


def test_streams_are_uncorrelated() -> None:
    n = 20_000
    drawn = torch.stack([torch.randn(n, generator=stream(*name)) for name in NAMES])
    apart = torch.corrcoef(drawn) - torch.eye(len(NAMES))
    assert apart.abs().max() < 5 / n**0.5  # five standard errors


def test_the_order_is_a_permutation_and_every_seed_and_epoch_has_its_own() -> None:
    orders = [tuple(order(seed, epoch, 50).tolist()) for seed in (0, 1) for epoch in (1, 2)]
    assert all(sorted(visited) == list(range(50)) for visited in orders)
    assert len(set(orders)) == 4
    assert torch.equal(order(1, 2, 50), order(1, 2, 50))


@pytest.mark.parametrize(("layers", "latent"), [*itertools.product((1, 2, 3), (1, 2, 5))])
def test_a_smaller_model_sees_the_leading_levels_and_units_of_a_larger(
    layers: int, latent: int
) -> None:
    large = noise("noise", 0, 1, images=33, layers=4, latent=7)
    small = noise("noise", 0, 1, images=33, layers=layers, latent=latent)
    assert torch.equal(small, large[:, :layers, :latent])


def test_noise_has_the_shape_and_layout_that_batches_are_cut_from() -> None:
    drawn = noise("noise", 0, 1, images=5, layers=2, latent=3)
    assert drawn.shape == (5, 2, 3)
    assert drawn.is_contiguous()
    assert drawn.dtype == torch.float32


def test_noise_is_standard_normal() -> None:
    drawn = noise("noise", 0, 1, images=10_000, layers=2, latent=5).double()
    n = drawn.numel()
    assert abs(drawn.mean()) < 5 / n**0.5  # each bound five standard errors
    assert abs(drawn.square().mean() - 1) < 5 * (2 / n) ** 0.5
    assert abs(drawn.pow(3).mean()) < 5 * (15 / n) ** 0.5
    assert abs(drawn.pow(4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert scipy.stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-4


def test_levels_units_images_seeds_epochs_and_purposes_have_noise_of_their_own() -> None:
    columns = noise("noise", 0, 1, images=5_000, layers=2, latent=3).flatten(1).T
    others = [("noise", 1, 1), ("noise", 0, 2), ("prior", 0, 1)]
    more = [noise(name, s, e, 5_000, 1, 1).flatten() for name, s, e in others]
    apart = torch.corrcoef(torch.cat([columns, torch.stack(more)])) - torch.eye(9)
    assert apart.abs().max() < 5 / 5_000**0.5
    shifted = torch.corrcoef(torch.stack([columns[0, 1:], columns[0, :-1]]))[0, 1]
    assert abs(shifted) < 5 / 5_000**0.5


def global_states() -> tuple[Any, ...]:
    """Of PyTorch, NumPy and Python."""
    legacy: Any = np.random.get_state()
    return torch.get_rng_state().tolist(), legacy[1].tolist(), random.getstate()


def test_a_fit_neither_reads_nor_moves_any_global_generator(few_digits: Images) -> None:
    weights = []
    for seed in (0, 1234):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = global_states()
        (model,) = fit([run(seed=5)], few_digits).models
        assert global_states() == before
        weights.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(*weights)
