"""Verdicts: what may be called reproduced, and what must not."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reproduction_builders import GOOD

from report.reproduction.verdicts import (
    DIFFERENT,
    FAILED,
    PARAMETERS,
    REPRODUCED,
    Plane,
    Verdict,
    judge_count,
    judge_curve,
    judge_manifold,
    judge_map,
    judge_plane,
    judge_samples,
    needed_nats,
    with_differences,
)

FALLING = [180.0 - 2 * epoch for epoch in range(30)]
OTHER = ("epochs 3, not 30",)


def plane(smoothness: float, variety: float, kl_nats: float = 1.9) -> Plane:
    return Plane((0, 1), smoothness, variety, kl_nats)


def samples(**changes: float) -> Verdict:
    return judge_samples(GOOD["samples"] | changes)


def latent_map(kl_nats: float = 3.7, **changes: float) -> Verdict:
    return judge_map(GOOD["map"] | changes, kl_nats)


def on_plane(smoothness: float = 0.97, variety: float = 0.4) -> Verdict:
    return judge_plane(plane(smoothness, variety))


def test_good_numbers_are_reproduced_and_on_other_settings_with_a_difference() -> None:
    count, curve = judge_count(PARAMETERS, PARAMETERS), judge_curve(FALLING, 15.0)
    manifold = judge_manifold(plane(0.97, 0.4), plane(0.5, 0.0))
    for verdict in (count, curve, samples(), latent_map(), manifold):
        assert verdict == (REPRODUCED, ())
        assert with_differences(verdict, ()) == verdict
        assert with_differences(verdict, OTHER) == (DIFFERENT, OTHER)


def test_a_difference_never_hides_a_failure() -> None:
    verdict = with_differences(samples(digits_found=3), OTHER)
    assert verdict == (FAILED, ("the probe finds 3 digits only",))


def test_a_count_is_exact() -> None:
    assert judge_count(PARAMETERS + 1, PARAMETERS) == (
        FAILED,
        ("174,085 parameters, not 174,084",),
    )


@pytest.mark.parametrize(
    ("losses", "kl_nats", "reason"),
    [
        ([206.0], 15.0, "one epoch is no curve"),
        (FALLING[::-1], 15.0, "falls by"),
        ([180.0, *np.tile([150.0, 151.0], 14), 149.0], 15.0, "of the steps only"),
        (FALLING, 0.01, "the latents hold 0.01 nats only"),  # a decoder that ignores them
        ([180.0] * 29 + [math.nan], 15.0, "the loss became no number"),
        (FALLING, math.nan, "the latents hold nan nats only"),
    ],
)
def test_a_curve_must_fall_steadily_and_of_a_model_that_uses_its_latents(
    losses: list[float], kl_nats: float, reason: str
) -> None:
    verdict = judge_curve(losses, kl_nats)
    assert verdict.grade == FAILED
    assert any(reason in given for given in verdict.reasons)


def test_a_curve_of_noise_around_a_plateau_is_not_reproduced() -> None:
    rng = np.random.default_rng(0)
    curves = 200 + 20 * rng.random((500, 30))
    grades = [judge_curve(curve.tolist(), 15.0).grade for curve in curves]
    assert grades.count(FAILED) == len(grades)


@pytest.mark.parametrize(
    ("judge", "changes"),
    [
        (samples, {"digits_found": 8}),
        (samples, {"confidence": 0.3}),
        (samples, {"probe_test_accuracy": 0.85}),
        (latent_map, {"trustworthiness": 0.5}),
        (latent_map, {"neighbour_accuracy": 0.1}),
        (latent_map, {"kl_nats": 0.003}),
        (on_plane, {"smoothness": 0.02}),
        (on_plane, {"variety": 0.0005}),
    ],
)
def test_one_number_short_of_its_threshold_or_missing_fails_alone(
    judge: Callable[..., Verdict], changes: dict[str, float]
) -> None:
    for given in (changes, dict.fromkeys(changes, math.nan)):
        assert judge(**given).grade == FAILED
    assert len(judge(**changes).reasons) == 1


def test_arrays_of_noise_are_not_reproduced(monkeypatch: pytest.MonkeyPatch) -> None:
    from hvae.config import DataConfig
    from hvae.data.images import load
    from hvae.pictures import reproduction
    from hvae.pictures.reproduction import manifold_facts, map_facts, sample_facts, train_probe

    monkeypatch.setattr(reproduction, "LANDMARKS", 200)  # enough for these digits
    images = load(DataConfig("digits"), Path())
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(64, 64), dtype=np.uint8)
    drawn = sample_facts(noise, train_probe(images), images)
    assert judge_samples(GOOD["samples"] | drawn).grade == FAILED
    assert drawn["probe_test_accuracy"] > 0.9  # it is the noise that fails
    test = images.test / images.test_levels
    points = rng.normal(size=(len(test), 2)).astype(np.float32)
    assert len(judge_map(map_facts(points, test, images.test_labels), 3.7).reasons) == 2
    moved = manifold_facts(noise.reshape(8, 8, 64), test)
    variety = moved["tile_mse"] / moved["digit_mse"]
    assert on_plane(moved["smoothness"], variety).grade == FAILED


def test_a_manifold_that_changes_little_is_a_difference_that_says_why() -> None:
    verdict = judge_plane(plane(0.99, 0.1, 0.02))
    assert verdict.grade == DIFFERENT
    assert "variety 0.100; the model holds 0.02 nats in dimensions 1 and 2" in verdict.reasons[0]


def test_a_dead_plane_beside_one_that_shows_digits_is_a_difference_that_names_it() -> None:
    dead, used = plane(1.0, 0.0005, 0.0), Plane((3, 7), 0.97, 0.4, 2.8)
    verdict = with_differences(judge_manifold(dead, used), OTHER)
    assert verdict.grade == DIFFERENT
    assert "0.00 nats in dimensions 1 and 2" in verdict.reasons[0]
    assert "dimensions 4 and 8" in verdict.reasons[1]
    assert verdict.reasons[2:] == OTHER
    for bad in (dead, plane(0.97, 0.1), plane(0.02, 0.9), plane(math.nan, 0.4)):
        assert judge_manifold(dead, bad).grade == FAILED


@pytest.mark.parametrize("flip", [0.05, 0.4, 0.75])
def test_fanos_bound_is_reached_by_the_symmetric_channel(flip: float) -> None:
    joint = np.full((10, 10), flip / 9) + np.eye(10) * (1 - flip - flip / 9)
    joint /= 10
    information = (joint * np.log(joint * 100)).sum()  # both margins are even
    assert needed_nats(1 - flip) == pytest.approx(information, abs=1e-12)


def test_naming_all_digits_takes_log_ten_and_chance_nothing() -> None:
    assert needed_nats(1.0) == pytest.approx(math.log(10))
    assert needed_nats(0.1) == needed_nats(0.0) == needed_nats(math.nan) == 0.0
    grid = [needed_nats(accuracy) for accuracy in np.linspace(0.1, 1.0, 50)]
    assert grid == sorted(grid)
