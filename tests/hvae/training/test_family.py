"""The model family in training: counted in closed form, packed, and step by step as a plain loop
trains it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILY, PARTS, member
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hvae.closed_form import (
    decoder_weights,
    flops_per_image,
    parameter_count,
    run_parameters,
    weight_count,
)
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.model.hierarchy import ancestral, build, initial
from hvae.model.objectives import Settings, objective
from hvae.native.build import c_compiler
from hvae.streams import noise, order
from hvae.training.draws import Draws
from hvae.training.fit import choose, fit
from hvae.training.traced import Traced

# Traced or not, the bits are the same, also of a member that has all parts: test_fit.py.
pytestmark = pytest.mark.usefixtures("untraced")

D, BATCH = 64, 16
CPU = torch.device("cpu")
ONE = torch.ones(())


def run(name: str, depth: int = 2, **train: Any) -> RunConfig:
    """A run of a member on the digits."""
    settings = {"objective": "elbo", "epochs": 2, "batch_size": BATCH} | train
    model = replace(member(name, depth), input_dim=D)
    return RunConfig(model, TrainConfig(**settings), DataConfig("digits"))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", FAMILY)
def test_parameters_and_flops_are_those_of_the_module(name: str, depth: int) -> None:
    config = member(name, depth)
    model = build(config, "bce")
    assert parameter_count(config) == sum(p.numel() for p in model.parameters())
    weights = {n: p for n, p in model.named_parameters() if n.endswith("weight")}
    assert weight_count(config) == sum(p.numel() for p in weights.values())
    decoders = sum(p.numel() for n, p in weights.items() if n.startswith("decoders"))
    assert decoder_weights(config) == decoders


@pytest.mark.parametrize("given", [("elbo", 1), ("iwae", 3)], ids=["elbo", "iwae"])
@pytest.mark.parametrize("name", FAMILY)
def test_a_step_has_the_flops_of_the_closed_form(name: str, given: tuple[str, int]) -> None:
    one = run(name, objective=given[0], importance_samples=given[1])
    (group,) = Traced([one], CPU, torch.float32).groups
    x, eps = torch.zeros(1, BATCH, D), torch.zeros(1, BATCH, given[1], 2, one.model.latent_dim)
    with FlopCounterMode(display=False) as counter:
        group.step(x, eps)
    assert counter.get_total_flops() == BATCH * flops_per_image(one)


@pytest.mark.parametrize("name", FAMILY)
def test_gradients_of_a_pack_are_those_of_its_members(name: str) -> None:
    runs = [run(name, seed=seed, loss=loss) for seed in (0, 1) for loss in ("bce", "mse")]
    engine = Traced(runs, CPU, torch.float64)
    (group,) = engine.groups
    torch.manual_seed(0)
    x = torch.rand(2, BATCH, D, dtype=torch.float64)  # by seed
    eps = torch.randn(2, BATCH, 1, 2, runs[0].model.latent_dim, dtype=torch.float64)
    own = [tensor.index_select(0, group.seed_rows) for tensor in (x, eps)]
    gradients, _ = group._gradients(*own)(group.parameters, group.settings, *own)
    for row, place in enumerate(group.members):
        model = initial(runs[place]).double()
        seed, loss = runs[place].train.seed, runs[place].train.loss
        live = torch.ones(runs[0].model.latent_dim, dtype=torch.float64)
        settings = Settings(ONE.double(), -torch.inf * ONE.double(), live)
        result = model(x[seed], eps[seed, :, 0])
        objective("elbo", loss, result, x[seed], settings).loss.backward()  # type: ignore[no-untyped-call]
        for key, parameter in model.named_parameters():
            found = gradients[key][row]
            expected = parameter.grad.mT if key.endswith("weight") else parameter.grad
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["learned variance", "two tanh layers"])
def test_a_narrower_member_is_padded_by_what_stays_zero(name: str, few_digits: Images) -> None:
    wide = run(name)
    narrow = replace(wide, model=replace(wide.model, latent_dim=2))
    for one, model in zip(
        (narrow, wide), fit([narrow, wide], few_digits, dtype=torch.float64).models, strict=True
    ):
        for found, expected in zip(model.parameters(), plainly(one, few_digits), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_sizes_by_level_are_trained_at_other_depths_than_the_usual(few_digits: Images) -> None:
    runs = [run("unequal levels", 3, seed=seed) for seed in (0, 1)]
    for one, model in zip(runs, fit(runs, few_digits, dtype=torch.float64).models, strict=True):
        for found, expected in zip(model.parameters(), plainly(one, few_digits), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", FAMILY)
def test_nan_in_one_member_leaves_the_others_as_they_are(name: str, few_digits: Images) -> None:
    runs = [run(name, seed=seed) for seed in (0, 1)]
    models = []
    for is_sick in (False, True):
        engine = Traced(runs, CPU, torch.float32)
        (group,) = engine.groups
        if is_sick:
            for parameter in group.parameters.values():
                parameter[group.members.index(0)] = torch.nan
        engine.epoch(Draws(runs, few_digits, CPU), 1, 1.0)
        models.append([engine.model(member) for member in (0, 1)])
    (healthy, other), (sick, same) = models
    pairs = zip(other.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert not all(
        torch.equal(*pair) for pair in zip(healthy.parameters(), sick.parameters(), strict=True)
    )


@pytest.mark.parametrize("loss", ["continuous-bernoulli", "gaussian"])
@pytest.mark.parametrize("objective", ["documented", "elbo"])
def test_a_pack_may_hold_every_likelihood(loss: str, objective: str, few_digits: Images) -> None:
    runs = [run("documented", loss=each, objective=objective) for each in ("bce", loss, "mse")]
    together = fit(runs, few_digits, dtype=torch.float64).models
    for one, model in zip(runs, together, strict=True):
        assert run_parameters(one) == sum(p.numel() for p in model.parameters())
        for found, expected in zip(model.parameters(), plainly(one, few_digits), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert {"bce", loss, "mse"} == {model.loss for model in together}
    if loss == "gaussian":
        assert together[1].pixel_logvar < 0


@pytest.mark.parametrize("name", FAMILY)
def test_training_is_that_of_a_plain_loop(name: str, few_digits: Images) -> None:
    one = run(name, rate_steps=(1,), rate_factor=0.5)
    (model,) = fit([one], few_digits, dtype=torch.float64, engine="traced").models
    for found, expected in zip(model.parameters(), plainly(one, few_digits), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def plainly(one: RunConfig, images: Images) -> list[Tensor]:
    """The parameters that torch's own Adam leaves."""
    model, train, count = initial(one).double(), one.train, len(images.train)
    optimizer = torch.optim.Adam(model.parameters(), train.learning_rate)
    live = torch.ones(one.model.latent_dim, dtype=torch.float64)
    settings = Settings(ONE.double(), -torch.inf * ONE.double(), live)
    for epoch in range(1, train.epochs + 1):
        optimizer.param_groups[0]["lr"] = train.rate(epoch)
        sizes = one.model.num_layers, one.model.latent_dim
        eps = noise("noise", train.seed, epoch, count, *sizes).double()
        places = order(train.seed, epoch, count)
        for batch in torch.arange(count).split(BATCH):
            pixels = torch.from_numpy(images.train)[places[batch]].float() / images.train_levels
            optimizer.zero_grad()
            result = model(pixels.double(), eps[batch])
            objective(
                train.objective, train.loss, result, pixels.double(), settings
            ).loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return list(model.parameters())


@pytest.mark.parametrize("name", sorted(set(FAMILY) - {"documented"}))
def test_the_compiled_step_declines_what_it_does_not_know(name: str) -> None:
    if c_compiler() is None:
        pytest.skip("needs a C compiler, such as cc")
    _, reason = choose([run(name)], CPU, torch.float32, "auto")
    assert reason in {
        "learned prior variance",
        "top-down",
        "hidden layers 2",
        "latent sizes 4-3",
    }
    _, reason = choose([run("documented")], CPU, torch.float32, "auto")
    assert reason == ""


@pytest.mark.parametrize("engine", ["traced", "compiled"])
def test_both_engines_lower_the_rate_and_start_from_the_datas_mean(
    engine: str, few_digits: Images
) -> None:
    if engine == "compiled" and c_compiler() is None:
        pytest.skip("needs a C compiler, such as cc")
    one = run("documented", rate_steps=(1,), rate_factor=0.5)
    one = replace(one, model=replace(one.model, output_bias="data"))
    (model,) = fit([one], few_digits, dtype=torch.float64, engine=engine).models
    means = torch.tensor(few_digits.train.mean(0) / few_digits.train_levels)
    begun = initial(one, means).double()
    torch.testing.assert_close(
        begun.pixel_decoder.linear_2.bias.sigmoid(), means.clamp(0.001, 0.999), atol=1e-6, rtol=1e-5
    )
    moved = (model.pixel_decoder.linear_2.bias - begun.pixel_decoder.linear_2.bias).abs().max()
    assert 0 < moved < 2 * one.train.epochs * 5 * one.train.learning_rate
    if engine == "compiled":
        (other,) = fit([one], few_digits, dtype=torch.float64, engine="traced").models
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


def test_only_the_output_bias_knows_the_data() -> None:
    one = run("documented")
    data = replace(one, model=replace(one.model, output_bias="data"))
    theirs = dict(initial(data, torch.full((D,), 0.25)).named_parameters())
    for key, mine in initial(one).named_parameters():
        assert torch.equal(mine, theirs[key]) == (key != "decoders.0.linear_2.bias")


@torch.no_grad()
@pytest.mark.parametrize("name", ["learned variance", "unequal levels"])
def test_ancestral_draws_have_the_priors_moments(name: str) -> None:
    torch.manual_seed(0)
    model = build(member(name, 2), "bce").double()
    for parameter in model.parameters():
        parameter.normal_(0, 0.5)
    eps = torch.randn(50_000, 2, model.config.latent_dim, dtype=torch.float64)
    bottom, top = ancestral(model, eps)
    assert [z.shape[-1] for z in (bottom, top)] == list(model.config.latents)
    prior = model.prior(1, top)
    standard = (bottom - prior.mu) / (prior.draw(torch.ones_like(prior.mu)) - prior.mu)
    np.testing.assert_allclose(standard.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(standard.std(0), 1, atol=0.03)


def test_the_family_has_every_part() -> None:
    parts = {part for settings in PARTS.values() for part in settings}
    plain = set(vars(ModelConfig())) - {"input_dim", "hidden_dim", "latent_dim", "num_layers"}
    assert parts == plain - {"output_bias"}
