"""Verdicts: what may be called reproduced, and what must not."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from report.reproduction import verdicts
from report.reproduction.verdicts import DIFFERENT, FAILED, REPRODUCED, Plane, Verdict, needed_nats

FALLING = [180.0 - 2 * epoch for epoch in range(30)]


def plane(smoothness: float, variety: float, kl_nats: float = 1.9) -> Plane:
    return Plane((0, 1), smoothness, variety, kl_nats)


def on_plane(smoothness: float, variety: float) -> Verdict:
    return verdicts.plane(plane(smoothness, variety))


def good(differences: tuple[str, ...] = ()) -> list[Verdict]:
    """Every verdict, of numbers like those of real MNIST at the documented settings."""
    return [
        verdicts.parameters(174_084, 174_084),
        verdicts.loss_curve(FALLING, 15.0, differences),
        verdicts.samples(10, 0.8, 0.95, differences),
        verdicts.latent_map(0.97, 0.85, 3.7, differences),
        verdicts.manifold(plane(0.97, 0.4), plane(0.5, 0.0), differences),
    ]


def test_good_numbers_are_reproduced_without_a_reason_against_it() -> None:
    assert {(verdict.grade, verdict.reasons) for verdict in good()} == {(REPRODUCED, ())}


def test_other_settings_are_a_difference_however_good_the_numbers() -> None:
    graded = good(("epochs 3, not 30",))
    assert {verdict.grade for verdict in graded[1:]} == {DIFFERENT}
    assert all(verdict.reasons == ("epochs 3, not 30",) for verdict in graded[1:])


def test_a_difference_never_hides_a_failure() -> None:
    verdict = verdicts.samples(3, 0.8, 0.95, ("epochs 3, not 30",))
    assert verdict.grade == FAILED
    assert verdict.reasons == ("the probe finds 3 digits only",)


@pytest.mark.parametrize(
    ("counted", "in_closed_form", "differences", "grade"),
    [
        (174_084, 174_084, (), REPRODUCED),
        (174_085, 174_084, (), FAILED),
        (29_364, 29_364, ("the model is smaller",), DIFFERENT),
        (29_365, 29_364, ("the model is smaller",), FAILED),
    ],
)
def test_a_count_is_exact(
    counted: int, in_closed_form: int, differences: tuple[str, ...], grade: str
) -> None:
    assert verdicts.parameters(counted, in_closed_form, differences).grade == grade


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
    verdict = verdicts.loss_curve(losses, kl_nats)
    assert verdict.grade == FAILED
    assert any(reason in given for given in verdict.reasons)


def test_a_curve_of_noise_around_a_plateau_is_not_reproduced() -> None:
    rng = np.random.default_rng(0)
    curves = 200 + 20 * rng.random((500, 30))
    grades = [verdicts.loss_curve(curve.tolist(), 15.0).grade for curve in curves]
    assert grades.count(FAILED) == len(grades)


@pytest.mark.parametrize(
    ("judge", "numbers"),
    [
        (verdicts.samples, [(1, 0.8, 0.95), (10, 0.3, 0.95), (10, 0.8, 0.85), (0, 0.1, 0.1)]),
        (verdicts.latent_map, [(0.5, 0.85, 3.7), (0.97, 0.1, 3.7), (0.97, 0.85, 0.003)]),
        (on_plane, [(0.02, 0.9), (1.0, 0.0005)]),
    ],
)
def test_collapsed_and_random_models_are_not_reproduced(
    judge: Callable[..., Verdict], numbers: list[tuple[float, ...]]
) -> None:
    for given in numbers:
        assert judge(*given).grade == FAILED


@pytest.mark.parametrize(
    ("judge", "numbers"),
    [
        (verdicts.samples, (10, 0.8, 0.95)),
        (verdicts.latent_map, (0.97, 0.85, 3.7)),
        (on_plane, (0.97, 0.4)),
    ],
)
def test_a_number_that_is_missing_fulfils_nothing(
    judge: Callable[..., Verdict], numbers: tuple[float, ...]
) -> None:
    for place in range(len(numbers)):
        broken = [*numbers[:place], math.nan, *numbers[place + 1 :]]
        assert judge(*broken).grade == FAILED


def test_arrays_of_noise_are_not_reproduced() -> None:
    from hvae.config import DataConfig
    from hvae.data.images import load
    from hvae.pictures.reproduction import manifold_facts, map_facts, sample_facts, train_probe

    images = load(DataConfig("digits"), Path())
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(64, 64), dtype=np.uint8)
    seen = sample_facts(noise, train_probe(images), images)
    found = (seen["digits_found"], seen["confidence"], seen["probe_test_accuracy"])
    assert verdicts.samples(*found).grade == FAILED
    test = images.test / images.test_levels
    points = rng.normal(size=(len(test), 2)).astype(np.float32)
    kept = map_facts(points, test, images.test_labels)
    judged = verdicts.latent_map(kept["trustworthiness"], kept["neighbour_accuracy"], 3.7)
    assert len(judged.reasons) == 2
    moved = manifold_facts(noise.reshape(8, 8, 64), test)
    variety = moved["tile_mse"] / moved["digit_mse"]
    assert on_plane(moved["smoothness"], variety).grade == FAILED


def test_a_manifold_that_changes_little_is_a_difference_that_says_why() -> None:
    verdict = verdicts.plane(plane(0.99, 0.1, 0.02))
    assert verdict.grade == DIFFERENT
    assert "variety 0.100; the model holds 0.02 nats in dimensions 1 and 2" in verdict.reasons[0]


def test_a_dead_plane_beside_one_that_shows_digits_is_a_difference_that_names_it() -> None:
    dead, used = plane(1.0, 0.0005, 0.0), Plane((3, 7), 0.97, 0.4, 2.8)
    verdict = verdicts.manifold(dead, used, ("epochs 3, not 30",))
    assert verdict.grade == DIFFERENT
    assert "0.00 nats in dimensions 1 and 2" in verdict.reasons[0]
    assert "dimensions 4 and 8" in verdict.reasons[1]
    assert verdict.reasons[2] == "epochs 3, not 30"
    for bad in (dead, plane(0.97, 0.1), plane(0.02, 0.9), plane(math.nan, 0.4)):
        assert verdicts.manifold(dead, bad).grade == FAILED


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


def test_every_rule_names_its_thresholds() -> None:
    rules = [verdict.rule for verdict in good()]
    named = [["174,084"], ["10 %", "80 %", "2.3"], ["90 %", "9", "50 %"]]
    named += [["0.9", "50 %"], ["0.9", "0.25", "0.01"]]
    for rule, numbers in zip(rules, named, strict=True):
        assert all(number in rule for number in numbers)
