"""The documented loop is the documented one, and every rung trains on the documented loss."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from bench.ladder import documented_loop as documented
from bench.ladder.documented_loop import REFERENCE, documented_kl, documented_loss
from bench.ladder.loops import pack, training_loop
from bench.ladder.rungs import BATCH, Rung, Source
from hvae import streams
from hvae.data.images import load_grey
from hvae.model.hierarchy import initial
from hvae.native.build import c_compiler
from hvae.training.fit import require_packable

NO_JAX = pytest.mark.skipif(find_spec("jax") is None, reason="needs jax; pip install '.[jax]'")
NO_COMPILER = pytest.mark.skipif(c_compiler() is None, reason="needs a C compiler")
RUNGS = [
    *(Rung(kind, "", kind, 1, "cpu") for kind in ("documented", "in_memory", "fused")),
    Rung("packed_1", "", "pack", 1, "cpu", models=1, engine="traced"),
    Rung("packed_7", "", "pack", 1, "cpu", models=7, engine="traced"),
    pytest.param(
        Rung("compiled", "", "pack", 1, "cpu", models=2, engine="compiled"),
        marks=NO_COMPILER,
    ),
    pytest.param(Rung("jax", "", "pack", 1, "cpu", models=2, engine="jax"), marks=NO_JAX),
    pytest.param(
        Rung("captured", "", "pack", 1, "cuda", models=2, engine="traced"), marks=pytest.mark.cuda
    ),
]


@pytest.fixture
def no_noise(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    """z = mu, so that a loss does not depend on the order of the images."""
    monkeypatch.setattr(documented, "reparameterize", lambda mu, sigma: mu)
    monkeypatch.setattr(torch, "randn", lambda sizes, **given: torch.zeros(sizes, **given))

    def noise(purpose: str, seed: int, epoch: int, images: int, *shape: int) -> torch.Tensor:
        return torch.zeros(images, *shape)

    monkeypatch.setattr(streams, "noise", noise)


@pytest.fixture
def two_batches(make_source: Callable[[int], Source]) -> Source:
    """Of which the first is trained on."""
    return make_source(2 * BATCH)


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_every_rung_starts_at_the_documented_loss_of_the_same_batch(
    rung: Rung, two_batches: Source, no_noise: None
) -> None:
    x = torch.from_numpy(load_grey("mnist", two_batches.folder).train[:BATCH]).float() / 255
    with torch.no_grad():
        (mu_1, sigma_1), model = initial(REFERENCE).encoders[0](x), initial(REFERENCE)
        mu_2, sigma_2 = model.encoders[1](mu_1)
        logits, mean = model.decode(0, mu_1), model.decode(1, mu_2)
    bernoulli = Bernoulli(logits=logits, validate_args=False)  # x is grey
    nll = -bernoulli.log_prob(x).sum()  # type: ignore[no-untyped-call]
    kl = kl_divergence(Normal(mu_1, sigma_1), Normal(mean, 1.0)).sum()
    kl += kl_divergence(Normal(mu_2, sigma_2), Normal(0.0, 1.0)).sum()
    loss = training_loop(rung, two_batches)(BATCH)
    assert loss == pytest.approx((nll + 2 * kl).item() / BATCH, rel=1e-5)  # float32 sums


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_every_rung_learns(rung: Rung, two_batches: Source) -> None:
    loop = training_loop(rung, two_batches)
    losses = [loop(BATCH) for _ in range(6)]
    assert losses[-1] < 0.995 * losses[0]  # 5 nats and more of 550


def test_the_documented_loss_is_that_of_the_model_under_the_same_noise() -> None:
    model, x = initial(REFERENCE), torch.rand(5, 784)
    losses = []
    for loss in (documented_loss, type(model).get_loss):
        torch.manual_seed(3)
        losses.append(loss(model, x).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_documented_kl_is_twice_the_kl() -> None:
    mu, sigma, mean = torch.randn(3, 4), torch.rand(3, 4) + 0.1, torch.randn(3, 4)
    expected = 2 * kl_divergence(Normal(mu, sigma), Normal(mean, 1.0)).sum()
    torch.testing.assert_close(documented_kl(mu, sigma, mean), expected)


def test_the_members_of_a_pack_are_different_trainings_of_the_reference() -> None:
    runs = pack(12)
    require_packable(runs)
    assert len(set(runs)) == 12
    assert runs[0] == REFERENCE
    assert {run.model for run in runs} == {REFERENCE.model}
    assert [run.train.seed for run in runs] == [0] * 10 + [1] * 2  # as the standard study packs


def test_a_window_ends_with_the_training_set(make_source: Callable[[int], Source]) -> None:
    source = make_source(BATCH + 2)
    rung = Rung("fused", "", "fused", 3, "cpu")
    assert rung.images(source) == BATCH + 2
    assert training_loop(rung, source)(rung.images(source)) > 0  # the short batch included
