"""The compiled engine against the traced one, which test_fit.py proves against a plain loop; in
float64 unless said. Skipped where there is no C compiler."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packs import Pack
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.datasets import DATASETS
from hvae.model.hierarchy import HierarchicalVAE, initial
from hvae.native import build as c_library
from hvae.native.bindings import OBJECTIVES, constant
from hvae.native.build import c_compiler, library
from hvae.training import compiled
from hvae.training.compiled import Member, obstacle, places
from hvae.training.draws import Draws
from hvae.training.fit import fit

pytestmark = [
    pytest.mark.skipif(c_compiler() is None, reason="needs a C compiler, such as cc"),
    pytest.mark.usefixtures("untraced"),
]

CPU = torch.device("cpu")
DEPTHS = [1, 2, 3, 4]
# Latent and hidden sizes below, at and above whole vectors and whole blocks of them.
SIZES = [(1, 1), (20, 100), (50, 16), (8, 128)]
DTYPES = [torch.float32, torch.float64]
LOSSES = ["bce", "mse"]
# Every pair of values of the four at least once, in 16 of 64 trainings.
PAIRWISE = [
    (depth, OBJECTIVES[(i + j) % 2], LOSSES[(i + j // 2) % 2], sizes)
    for i, depth in enumerate(DEPTHS)
    for j, sizes in enumerate(SIZES)
]
ENGINES = ("traced", "compiled")
KL = {"kl_weight": 0.5, "free_bits": 0.3, "kl_warmup_epochs": 2, "epochs": 3}


def run(
    latent: int = 5, hidden: int = 12, depth: int = 2, pixels: int = 64, **train: Any
) -> RunConfig:
    options = TrainConfig(**{"batch_size": 16, "epochs": 2} | train)
    return RunConfig(ModelConfig(pixels, hidden, latent, depth), options, DataConfig("digits"))


def trained(
    runs: list[RunConfig], images: Images, engine: str, dtype: torch.dtype = torch.float64
) -> tuple[Pack, Tensor]:
    """A pack after its epochs, and the sums of each: [E, K, 2 + T]."""
    pack = Pack(runs, images, engine, dtype)
    return pack, torch.stack([pack.epoch(epoch + 1) for epoch in range(runs[0].train.epochs)])


def vector(pack: Pack, member: int = 0) -> Tensor:
    return parameters_to_vector(pack.engine.model(member).parameters()).detach()


def require_equal(config: RunConfig, images: Images, tolerance: float) -> None:
    """Both steps train the run alike: histories and parameters."""
    (reference, expected), (pack, sums) = (trained([config], images, e) for e in ENGINES)
    torch.testing.assert_close(sums, expected, rtol=tolerance, atol=1e-9)
    goal = vector(reference)
    assert float((vector(pack) - goal).norm() / goal.norm()) <= tolerance


def cut(images: Images, pixels: int) -> Images:
    """Images of any width: more pixels are the same ones again."""
    width = images.train.shape[1]
    train = np.ascontiguousarray(np.tile(images.train, -(-pixels // width))[:, :pixels])
    return replace(images, train=train)


@pytest.mark.parametrize(("depth", "objective", "loss", "sizes"), PAIRWISE)
def test_the_step_in_c_trains_as_the_traced_one(
    depth: int, objective: str, loss: str, sizes: tuple[int, int], few_digits: Images
) -> None:
    # 10 steps, two of them short; float64 rounds at 1e-16, sums over 1,024 terms at 1e-14.
    require_equal(run(*sizes, depth, objective=objective, loss=loss), few_digits, 1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("depth", [1, 3])
def test_the_kl_is_weighted_warmed_up_and_floored_alike(
    depth: int, objective: str, few_digits: Images
) -> None:
    require_equal(run(depth=depth, objective=objective, **KL), few_digits, 1e-12)


@pytest.mark.parametrize(
    ("pixels", "loss"),
    [(1, "bce"), (55, "mse"), (56, "bce"), (57, "mse"), (113, "bce"), (784, "mse")],
)
def test_any_number_of_pixels_is_trained_on(
    pixels: int, loss: str, few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "digits", DATASETS["digits"]._replace(height=1, width=pixels))
    require_equal(run(pixels=pixels, loss=loss), cut(few_digits, pixels), 1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 70, 100])
def test_any_batch_size_is_trained_on(batch_size: int, few_digits: Images) -> None:
    require_equal(run(batch_size=batch_size, epochs=1), few_digits, 1e-12)


def test_after_100_steps_both_have_reached_the_same(few_digits: Images) -> None:
    # Rounding of 1e-16 a step, which Adam's division by √v of small gradients spreads.
    require_equal(run(20, 100, epochs=20, kl_weight=0.7), few_digits, 1e-9)


def test_the_constants_of_adam_are_those_of_the_traced_engine(
    few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("adam", "compiled"):
        monkeypatch.setattr(f"hvae.training.{module}.BETAS", (0.7, 0.9))
        monkeypatch.setattr(f"hvae.training.{module}.EPSILON", 1e-3)
    require_equal(run(), few_digits, 1e-12)


def test_dynamic_pixels_are_drawn_as_elsewhere(few_digits: Images) -> None:
    config = run(objective="elbo")
    require_equal(replace(config, data=DataConfig("digits", "dynamic")), few_digits, 1e-12)


def test_the_short_way_is_taken_for_every_learning_rate_and_latent_of_a_pack(
    few_digits: Images,
) -> None:
    runs = [run(5), run(2, seed=1, learning_rate=3e-3), run(9, loss="mse", kl_weight=2.0)]
    packs = [trained(runs, few_digits, engine) for engine in ENGINES]
    for member in range(len(runs)):
        expected, found = (vector(pack, member) for pack, _ in packs)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            packs[1][1][:, member], packs[0][1][:, member], rtol=1e-12, atol=1e-9
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_in_float32_it_rounds_no_worse_than_the_traced_step(loss: str, few_digits: Images) -> None:
    config = run(20, 100, loss=loss, epochs=6)
    exact, _ = trained([config], few_digits, "compiled")
    goal = vector(exact)
    off = [
        float((vector(trained([config], few_digits, e, torch.float32)[0]).double() - goal).norm())
        for e in ENGINES
    ]
    assert off[1] <= 3 * off[0]  # chance moves either by a factor of less than 2


def test_an_epoch_may_be_longer_or_shorter_than_the_one_before(few_digits: Images) -> None:
    runs, sums = [run(5, seed=0), run(5, seed=1)], []
    for name in ENGINES:
        engine = Pack(runs, few_digits, name).engine
        for epoch, count in enumerate((40, 70, 33), start=1):
            images = replace(few_digits, train=few_digits.train[:count])
            sums.append(engine.epoch(Draws(runs, images, torch.device("cpu")), epoch, 1.0))
    for expected, found in zip(sums[:3], sums[3:], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_member_is_bitwise_the_same_alone_and_in_any_pack(few_digits: Images) -> None:
    runs = [run(20, seed=1), run(2, seed=0, loss="mse"), run(5, seed=1), run(5, depth=3, seed=1)]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2], [0, 3]):
        pack, sums = trained([runs[i] for i in order], few_digits, "compiled", torch.float32)
        for member, i in enumerate(order):
            # Its noise alone is that of narrower latents: `streams.noise` gives the same units.
            alone, own = trained([runs[i]], few_digits, "compiled", torch.float32)
            assert torch.equal(vector(pack, member), vector(alone))
            terms = own.shape[-1]
            assert torch.equal(sums[:, member, :terms], own[:, 0])
            assert not sums[:, member, terms:].any()  # levels that it has not


def test_how_many_batches_are_laid_out_at_once_changes_no_bit(
    few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for chunk in (1, 2, 8):
        monkeypatch.setattr(compiled, "CHUNK", chunk)
        found.append(vector(trained([run()], few_digits, "compiled", torch.float32)[0]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("sick", range(3))
def test_nan_in_one_member_stays_there(sick: int, few_digits: Images) -> None:
    runs = [run(5), run(5, loss="mse"), run(5, seed=1)]
    healthy, injected = (Pack(runs, few_digits, "compiled", torch.float32) for _ in range(2))
    injected.engine.members[sick].numbers[0, 0] = torch.nan
    sums = [pack.epoch(1) for pack in (healthy, injected)]
    assert sums[1][sick, 0].isnan()
    for member in range(len(runs)):
        is_same = torch.equal(vector(healthy, member), vector(injected, member))
        assert is_same == (member != sick)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", [30.0, 1e4])  # e^88 is the largest in float32
def test_saturated_pixels_cost_what_they_cost(
    logit: float,
    loss: str,
    dtype: torch.dtype,
    few_digits: Images,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def saturated(config: RunConfig, pixel_means: Tensor) -> HierarchicalVAE:
        model = initial(config)
        with torch.no_grad():
            model.pixel_decoder.linear_2.bias[::2] = logit
            model.pixel_decoder.linear_2.bias[1::2] = -logit
        return model

    for module in ("compiled", "traced"):
        monkeypatch.setattr(f"hvae.training.{module}.initial", saturated)
    config = run(loss=loss, epochs=1)
    (reference, expected), (pack, sums) = (
        trained([config], few_digits, engine, dtype) for engine in ENGINES
    )
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(sums, expected, rtol=tolerance, atol=1e-9)
    torch.testing.assert_close(vector(pack), vector(reference), rtol=tolerance, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "sizes", "dtype"),
    [(d, s, DTYPES[(i + j) % 2]) for i, d in enumerate(DEPTHS) for j, s in enumerate(SIZES)],
)
def test_nothing_is_written_outside_of_the_room_for_it(
    depth: int, sizes: tuple[int, int], dtype: torch.dtype, few_digits: Images
) -> None:
    pack = Pack([run(*sizes, depth)], few_digits, "compiled", dtype)
    own = pack.engine
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
    assert not own.members[0].numbers[:, -constant(own.library, "slack") :].any()


SLACK = 9


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_parameter_has_a_place_of_its_own(depth: int) -> None:
    config = run(5, 12, depth)
    model, member = initial(config), Member(config, torch.float32, SLACK, depth)
    for found, expected in zip(member.model().parameters(), model.parameters(), strict=True):
        assert torch.equal(found, expected)
    counted = torch.zeros_like(member.numbers[0])
    for _, place in places(model, counted):
        place.add_(1)
    assert (counted[:-SLACK] == 1).all()
    assert not counted[-SLACK:].any()


@pytest.mark.parametrize(
    ("config", "device", "dtype", "reason"),
    [
        (run(), "cpu", torch.float32, ""),
        (run(depth=16, batch_size=2**16 - 1), "cpu", torch.float64, ""),
        (run(), "cuda", torch.float32, "device cuda"),
        (run(), "cpu", torch.bfloat16, "torch.bfloat16"),
        (run(objective="iwae", importance_samples=2), "cpu", torch.float32, "objective iwae"),
        (run(depth=17), "cpu", torch.float32, "more than 16 levels"),
        (run(batch_size=2**16), "cpu", torch.float32, "more than 65535 images in a batch"),
    ],
)
def test_it_says_what_it_cannot_train(
    config: RunConfig, device: str, dtype: torch.dtype, reason: str
) -> None:
    assert obstacle(config, torch.device(device), dtype) == reason


def test_it_knows_every_setting_of_training_or_declines_it() -> None:
    """Another one is trained as if it were not there, until `uncompiled` declines it."""
    declined = {"loss", "objective", "importance_samples"}  # samples are those of IWAE alone
    drawn = {"epochs", "batch_size", "seed"}  # what an epoch draws is of both engines
    rate = {"learning_rate", "rate_steps", "rate_factor"}
    assert set(vars(TrainConfig())) == declined | drawn | rate | {
        "kl_weight",
        "kl_warmup_epochs",
        "free_bits",
    }


def test_without_its_library_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "library", lambda is_double: None)
    assert obstacle(run(), CPU, torch.float32) == "step.c cannot be compiled or loaded"
    monkeypatch.setattr(compiled, "c_compiler", lambda: None)
    assert obstacle(run(), CPU, torch.float32) == "no C compiler"


def test_auto_is_this_engine_where_it_can_be_had_else_the_traced_one_with_the_reason(
    few_digits: Images,
) -> None:
    iwae = run(objective="iwae", importance_samples=2, epochs=1)
    fits = [fit([config], few_digits) for config in (run(epochs=1), iwae)]
    assert [(f.engine, f.declined) for f in fits] == [
        ("compiled", ""),
        ("traced", "objective iwae"),
    ]
    with pytest.raises(ValueError, match=r"^engine: 'compiled' .*: objective iwae$"):
        fit([iwae], few_digits, engine="compiled")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"])  # vectors of 128 and 256 bits
def test_processors_with_narrower_vectors_train_alike(
    processor: str, dtype: torch.dtype, few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    if processor.endswith("v3") and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    runs = [run(20, 100), run(5, 100, loss="mse")]
    reference, _ = trained(runs, few_digits, "traced", dtype)
    monkeypatch.setattr(c_library, "NATIVE", f"-march={processor}")
    monkeypatch.setattr(compiled, "library", library.__wrapped__)
    pack, _ = trained(runs, few_digits, "compiled", dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-4  # 10 steps of Adam's ±lr at g = 0 ± 1e-8
    for member in range(len(runs)):
        goal = vector(reference, member)
        assert float((vector(pack, member) - goal).norm() / goal.norm()) <= tolerance
