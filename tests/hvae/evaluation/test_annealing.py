"""The reported NLL against annealed importance sampling, which knows no Gaussian: Hamiltonian Monte
Carlo from the encoders to the posterior (Wu et al. 2017, arXiv:1611.04273).

Shapes: C chains, B images, T levels, L latent.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import Tensor

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images, load
from hvae.evaluation.densities import levels_at
from hvae.evaluation.evaluate import evaluate
from hvae.evaluation.likelihood import Target
from hvae.evaluation.nll import proposal_for
from hvae.evaluation.posterior import log_joint
from hvae.model.hierarchy import HierarchicalVAE
from hvae.training.fit import fit

CHAINS, TEMPERATURES, LEAPFROGS = 12, 150, 8
Energy = Callable[[Tensor], Tensor]


def annealed_log_evidence(
    model: HierarchicalVAE, target: Target, chains: int = CHAINS, temperatures: int = TEMPERATURES
) -> Tensor:
    """A lower bound on log p(x) of each image, in the mean: [B]."""
    with torch.no_grad():
        proposal = proposal_for(model, target)
        sizes = (chains, len(target.x), model.config.num_layers, model.config.latent_dim)
        levels = model.infer(proposal.evidence, torch.randn(sizes)).levels
        z = torch.stack([level.z for level in levels], dim=-2)

    def log_start(z: Tensor) -> Tensor:
        return proposal.encoder_log_density(levels_at(model, proposal.evidence, z))[..., -1]

    def log_end(z: Tensor) -> Tensor:
        return log_joint(model, z, target)

    log_w = torch.zeros(sizes[:2], dtype=torch.float64)
    step = torch.full(sizes[:2], 0.05)
    betas = torch.linspace(-4, 4, temperatures + 1).double().sigmoid()
    betas = (betas - betas[0]) / (betas[-1] - betas[0])
    for before, after in pairwise(betas):
        with torch.no_grad():
            log_w += (after - before) * (log_end(z) - log_start(z))

        def energy(z: Tensor, beta: Tensor = after) -> Tensor:
            return -(1 - beta) * log_start(z) - beta * log_end(z)

        z, is_accepted = hamiltonian_step(z, energy, step)
        step = step * torch.where(is_accepted, 1.02, 1.02 ** (-0.65 / 0.35))
    return log_w.logsumexp(0) - math.log(chains)


def hamiltonian_step(z: Tensor, energy: Energy, step: Tensor) -> tuple[Tensor, Tensor]:
    """A move of every chain that keeps the density exp(-energy); which were accepted, [C, B]."""
    size = step[..., None, None]

    def gradient(z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = energy(z)
            (slope,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), slope

    momentum = torch.randn_like(z)
    start, slope = gradient(z)
    total = start + 0.5 * momentum.double().square().sum((-2, -1))
    moved, value = z, start
    for _ in range(LEAPFROGS):
        momentum = momentum - 0.5 * size * slope
        moved = moved + size * momentum
        value, slope = gradient(moved)
        momentum = momentum - 0.5 * size * slope
    change = total - value - 0.5 * momentum.double().square().sum((-2, -1))
    is_accepted = torch.rand(change.shape).log() < change
    return torch.where(is_accepted[..., None, None], moved, z), is_accepted


def test_annealing_finds_the_evidence_of_a_linear_model() -> None:
    """From encoders that are wrong."""
    torch.manual_seed(0)
    exact = LinearGaussian(2, spread=2.0)
    images = exact.images(4)
    x = torch.tensor(images.test).float() / images.test_levels
    found = annealed_log_evidence(exact.model, Target(x, "mse"), chains=20, temperatures=30)
    torch.testing.assert_close(found, exact.log_evidence(x), rtol=0, atol=0.15)


@pytest.fixture(scope="module")
def digits() -> Images:
    folder = os.environ.get("HVAE_DATA")
    if not folder:
        pytest.skip("set HVAE_DATA to a folder that holds MNIST/raw")
    return load(DataConfig("mnist", "dynamic"), Path(folder))


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_nll_is_within_a_tenth_of_a_nat_of_annealing(depth: int, digits: Images) -> None:
    train = TrainConfig(epochs=30, objective="elbo")
    run = RunConfig(ModelConfig(num_layers=depth), train, DataConfig("mnist", "dynamic"))
    model = fit([run], digits, "cpu").models[0]
    few = replace(
        digits,
        test=digits.test[:60],
        test_labels=digits.test_labels[:60],
        test_binary=digits.test_binary[:60],
    )
    found = evaluate([model], few, 1000)
    torch.manual_seed(0)
    annealed = annealed_log_evidence(model, Target(torch.tensor(few.test).float(), "bce"))
    nll = torch.tensor(found.nlls[0]["nll_nats"]).double()
    difference = nll + annealed
    assert abs(difference.mean()) < 0.1
    assert found.metrics[0]["nll_encoder_nats"] + annealed.mean() > 0.5
