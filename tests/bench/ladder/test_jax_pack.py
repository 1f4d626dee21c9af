"""The pack in JAX trains what the traced engine trains."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.ladder.loops import pack
from hvae.config import RunConfig
from hvae.data.images import Images
from hvae.settings import override
from hvae.training.draws import Draws
from hvae.training.traced import Traced

jax_pack = pytest.importorskip("bench.ladder.jax_pack", reason="needs jax; pip install '.[jax]'")
CPU = torch.device("cpu")


def small(members: int) -> list[RunConfig]:
    """The ladder's pack on the bundled digits, their last batch a short one."""
    sizes = {"data.name": "digits", "model.hidden_dim": 12, "latent": 3, "train.batch_size": 16}
    return [override(run, sizes) for run in pack(members)]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("members", [2, 11])  # of one seed, of two
def test_losses_and_parameters_are_those_of_the_traced_engine(
    members: int, few_digits: Images
) -> None:
    runs = small(members)
    draws = Draws(runs, few_digits_of_255(few_digits), CPU)
    traced, other = Traced(runs, CPU, torch.float32), jax_pack.JaxPack(runs)
    for epoch in (1, 2, 3):
        expected = traced.epoch(draws, epoch, 1.0)[:, 0]
        found = other.epoch(draws, epoch, 1.0)[:, 0].double()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)  # float32, summed otherwise
    for member in (0, members - 1):
        for name, parameter in traced.model(member).named_parameters():
            weights = np.array(other.state.parameters[name][member])
            np.testing.assert_allclose(weights, parameter.detach().numpy(), rtol=0, atol=1e-4)


def few_digits_of_255(images: Images) -> Images:
    """Pixels as MNIST has them: the pack in JAX divides by 255."""
    return replace(images, train=images.train * 15, train_levels=255)
