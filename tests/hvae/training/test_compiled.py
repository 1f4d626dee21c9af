"""The compiled step against the traced one, which test_fit.py proves against a plain loop; in
float64 unless said. Skipped where there is no C compiler."""

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from hvae.config import DATASETS, DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.evaluation.evaluate import evaluate
from hvae.evaluation.likelihood import plain_sums
from hvae.model import HierarchicalVAE, initial
from hvae.native import bindings
from hvae.native import build as c_library
from hvae.native.bindings import declared
from hvae.native.build import c_compiler
from hvae.training import compiled as fused
from hvae.training.compiled import Fused, Member, compiled_step, places
from hvae.training.fit import Training, fit

pytestmark = pytest.mark.skipif(c_compiler() is None, reason="needs a C compiler, such as cc")

CPU = torch.device("cpu")
DEPTHS = [1, 2, 3, 4]
# Latent and hidden sizes below, at and above whole vectors and whole blocks of them.
SIZES = [(1, 1), (20, 100), (50, 16), (8, 128)]
KL = {"kl_weight": 0.5, "free_bits": 0.3, "kl_warmup_epochs": 2}


@pytest.fixture(autouse=True)
def _untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing costs half a second per batch size and changes no bit: test_training.py."""
    monkeypatch.setattr("hvae.training.traced.make_fx", lambda step: lambda *arguments: step)


def run(
    latent: int = 5, hidden: int = 12, depth: int = 2, pixels: int = 64, **train: Any
) -> RunConfig:
    options = TrainConfig(**{"batch_size": 16, "epochs": 3} | train)
    return RunConfig(ModelConfig(pixels, hidden, latent, depth), options, DataConfig("digits"))


def trained(
    runs: list[RunConfig], images: Images, is_compiled: bool, dtype: torch.dtype = torch.float64
) -> tuple[Training, Tensor]:
    """A pack after its epochs, and the sums of each: [E, K, 2 + T]."""
    pack = Training(runs, images, CPU, dtype, is_compiled)
    assert (pack.fused is not None) == is_compiled
    return pack, torch.stack([pack.epoch(epoch + 1) for epoch in range(runs[0].train.epochs)])


def vector(pack: Training, member: int = 0) -> Tensor:
    return parameters_to_vector(pack.model(member).parameters()).detach()


def require_equal(config: RunConfig, images: Images, tolerance: float) -> None:
    """Both steps train the run alike: histories and parameters."""
    (reference, expected), (pack, sums) = (trained([config], images, c) for c in (False, True))
    torch.testing.assert_close(sums, expected, rtol=tolerance, atol=1e-9)
    goal = vector(reference)
    assert float((vector(pack) - goal).norm() / goal.norm()) <= tolerance


def cut(images: Images, pixels: int) -> Images:
    """Images of any width: more pixels are the same ones again."""
    width = images.train.shape[1]
    train = np.ascontiguousarray(np.tile(images.train, -(-pixels // width))[:, :pixels])
    return replace(images, train=train)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("objective", fused.OBJECTIVES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_step_in_c_trains_as_the_traced_one(
    depth: int, objective: str, loss: str, sizes: tuple[int, int], few_digits: Images
) -> None:
    # 15 steps, three of them short; float64 rounds at 1e-16, sums over 1,024 terms at 1e-14.
    require_equal(run(*sizes, depth, objective=objective, loss=loss), few_digits, 1e-12)


@pytest.mark.parametrize("objective", fused.OBJECTIVES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_kl_is_weighted_warmed_up_and_floored_alike(
    depth: int, objective: str, few_digits: Images
) -> None:
    require_equal(run(depth=depth, objective=objective, **KL), few_digits, 1e-12)


@pytest.mark.parametrize("pixels", [1, 55, 56, 57, 113, 784])
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_any_number_of_pixels_is_trained_on(
    pixels: int, loss: str, few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "digits", DATASETS["digits"]._replace(pixels=pixels))
    require_equal(run(pixels=pixels, loss=loss), cut(few_digits, pixels), 1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 70, 100])
def test_any_batch_size_is_trained_on(batch_size: int, few_digits: Images) -> None:
    require_equal(run(batch_size=batch_size), few_digits, 1e-12)


def test_after_200_steps_both_have_reached_the_same(few_digits: Images) -> None:
    # Rounding of 1e-16 a step, which Adam's division by √v of small gradients spreads.
    require_equal(run(20, 100, epochs=40, kl_weight=0.7), few_digits, 1e-9)


def test_dynamic_pixels_are_drawn_as_elsewhere(few_digits: Images) -> None:
    config = run(objective="elbo")
    require_equal(replace(config, data=DataConfig("digits", "dynamic")), few_digits, 1e-12)


def test_the_short_way_is_taken_for_every_learning_rate_and_latent_of_a_pack(
    few_digits: Images,
) -> None:
    runs = [run(5), run(2, seed=1, learning_rate=3e-3), run(9, loss="mse", kl_weight=2.0)]
    packs = [trained(runs, few_digits, is_compiled) for is_compiled in (False, True)]
    for member in range(len(runs)):
        expected, found = (vector(pack, member) for pack, _ in packs)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            packs[1][1][:, member], packs[0][1][:, member], rtol=1e-12, atol=1e-9
        )


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_in_float32_it_rounds_no_worse_than_the_traced_step(loss: str, few_digits: Images) -> None:
    config = run(20, 100, loss=loss, epochs=6)
    exact, _ = trained([config], few_digits, True)
    goal = vector(exact)
    off = [
        float((vector(trained([config], few_digits, c, torch.float32)[0]).double() - goal).norm())
        for c in (False, True)
    ]
    assert off[1] <= 3 * off[0]  # chance moves either by a factor of less than 2


def test_a_member_is_bitwise_the_same_alone_and_in_any_pack(few_digits: Images) -> None:
    runs = [run(20, seed=1), run(2, seed=0, loss="mse"), run(5, seed=1)]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2]):
        pack, sums = trained([runs[i] for i in order], few_digits, True, torch.float32)
        for member, i in enumerate(order):
            # Its noise alone is that of narrower latents: `streams.noise` gives the same units.
            alone, own = trained([runs[i]], few_digits, True, torch.float32)
            assert torch.equal(vector(pack, member), vector(alone))
            assert torch.equal(sums[:, member], own[:, 0])


def test_how_many_batches_are_laid_out_at_once_changes_no_bit(
    few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for chunk in (1, 2, 8):
        monkeypatch.setattr(fused, "CHUNK", chunk)
        found.append(vector(trained([run()], few_digits, True, torch.float32)[0]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_fresh_process_finds_the_same_bits(run_python: Callable[..., str]) -> None:
    code = """
from pathlib import Path
from hvae.processes import one_thread
one_thread()
from hvae.config import DATASETS, DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import load
from hvae.training.fit import fit
config = RunConfig(ModelConfig(64, 20, 5, 2), TrainConfig(epochs=3), DataConfig("digits"))
fitted = fit([config], load(config.data, Path()), is_compiled=True)
print(fitted.is_compiled, [p.sum().item().hex() for p in fitted.models[0].parameters()])
"""
    first, second = (run_python(code) for _ in range(2))
    assert first == second
    assert first.startswith("True")


@pytest.mark.parametrize("sick", range(3))
def test_nan_in_one_member_stays_there(sick: int, few_digits: Images) -> None:
    runs = [run(5), run(5, loss="mse"), run(5, seed=1)]
    healthy, injected = (Training(runs, few_digits, CPU, torch.float32, True) for _ in range(2))
    assert injected.fused is not None
    injected.fused.members[sick].numbers[0, 0] = torch.nan
    sums = [pack.epoch(1) for pack in (healthy, injected)]
    assert sums[1][sick, 0].isnan()
    for member in range(len(runs)):
        is_same = torch.equal(vector(healthy, member), vector(injected, member))
        assert is_same == (member != sick)


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", [30.0, 1e4])  # e^88 is the largest in float32
def test_saturated_pixels_cost_what_they_cost(
    logit: float,
    loss: str,
    dtype: torch.dtype,
    few_digits: Images,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def saturated(config: RunConfig) -> HierarchicalVAE:
        model = initial(config)
        with torch.no_grad():
            model.pixel_decoder.linear_2.bias[::2] = logit
            model.pixel_decoder.linear_2.bias[1::2] = -logit
        return model

    for module in ("compiled", "traced"):
        monkeypatch.setattr(f"hvae.training.{module}.initial", saturated)
    config = run(loss=loss, epochs=1)
    (reference, expected), (pack, sums) = (
        trained([config], few_digits, c, dtype) for c in (False, True)
    )
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(sums, expected, rtol=tolerance, atol=1e-9)
    torch.testing.assert_close(vector(pack), vector(reference), rtol=tolerance, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_nothing_is_written_outside_of_the_room_for_it(
    depth: int, sizes: tuple[int, int], dtype: torch.dtype, few_digits: Images
) -> None:
    pack = Training([run(*sizes, depth)], few_digits, CPU, dtype, True)
    assert pack.fused is not None
    own: Fused = pack.fused
    size = len(own.work)
    own.work = torch.full((size + 10_000,), 7.0, dtype=dtype)
    for name in ("x", "start", "lit", "bytes"):
        room = getattr(own, name)
        behind = room.new_full((2 * room.numel(),), 7)
        behind[: room.numel()] = 0
        setattr(own, name, behind)
    pack.epoch(1)
    assert (own.work[size:] == 7.0).all()
    for name in ("x", "start", "lit", "bytes"):
        behind = getattr(own, name)
        assert (behind[len(behind) // 2 :] == 7).all(), name
    assert not own.members[0].numbers[:, -bindings.SLACK :].any()


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_parameter_has_a_place_of_its_own(depth: int) -> None:
    config = run(5, 12, depth)
    model, member = initial(config), Member(config, torch.float32)
    for found, expected in zip(member.model().parameters(), model.parameters(), strict=True):
        assert torch.equal(found, expected)
    counted = torch.zeros_like(member.numbers[0])
    for _, place in places(model, counted):
        place.add_(1)
    assert (counted[: -bindings.SLACK] == 1).all()
    assert not counted[-bindings.SLACK :].any()


def test_it_is_for_one_sample_on_a_cpu() -> None:
    assert compiled_step(run(), CPU, torch.float32) is not None
    iwae = run(objective="iwae", importance_samples=2)
    assert compiled_step(iwae, CPU, torch.float32) is None
    assert compiled_step(run(), torch.device("cuda"), torch.float32) is None
    assert compiled_step(run(batch_size=fused.MOST_IMAGES), CPU, torch.float32) is None


def test_where_it_is_not_for_a_pack_the_traced_step_trains_it(few_digits: Images) -> None:
    fitted = fit([run(objective="iwae", importance_samples=2)], few_digits, is_compiled=True)
    assert not fitted.is_compiled


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"])  # vectors of 128 and 256 bits
def test_processors_with_narrower_vectors_train_alike(
    processor: str, dtype: torch.dtype, few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    if processor.endswith("v3") and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    runs = [run(20, 100), run(5, 100, loss="mse")]
    reference, _ = trained(runs, few_digits, False, dtype)
    monkeypatch.setattr(c_library, "NATIVE", f"-march={processor}")
    monkeypatch.setattr(bindings, "library", c_library.library.__wrapped__)
    pack, _ = trained(runs, few_digits, True, dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-4  # 15 steps of Adam's ±lr at g = 0 ± 1e-8
    for member in range(len(runs)):
        goal = vector(reference, member)
        assert float((vector(pack, member) - goal).norm() / goal.norm()) <= tolerance


# The sums over pixels of an evaluation.


@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize(("images", "pixels", "hidden"), [(1, 1, 1), (6, 57, 20), (100, 784, 100)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_pixel_sums_are_the_plain_ones(
    images: int, pixels: int, hidden: int, scale: float, is_grey: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    decoder = HierarchicalVAE(pixels, hidden, 2, 1).pixel_decoder
    units = scale * torch.rand(3, images, hidden, generator=generator)
    x = torch.rand(images, pixels, generator=generator) if is_grey else None
    with torch.no_grad():
        for dtype, tolerance in ((torch.float32, 3e-6), (torch.float64, 1e-12)):
            compiled, own = declared(dtype), decoder.to(dtype)
            assert compiled is not None
            given = (units.to(dtype), None if x is None else x.to(dtype))
            found = bindings.pixel_sums(compiled, own, *given)
            for one, other in zip(found, plain_sums(own, *given, at_once=10), strict=True):
                torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_an_evaluation_finds_what_the_plain_one_does(few_digits: Images) -> None:
    models = [initial(run(loss=loss)) for loss in ("bce", "mse")]
    plain, compiled = (
        evaluate(models, few_digits, 20, is_compiled=c).metrics for c in (False, True)
    )
    for found, expected in zip(compiled, plain, strict=True):
        for name in ("nll_nats", "elbo_nats", "scoreboard_nll_nats", "loss_documented"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6), name
