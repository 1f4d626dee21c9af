"""What is compared with what, by which metric, and in which family."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from builders import design, filled, record, study_of

from hvae.config import RunConfig
from hvae.records.attachments import arrays_file
from hvae.records.store import Store
from hvae.settings import digest, value
from report.data.contrasts import Contrast
from report.data.frames import Study
from report.data.statistics import holm, paired

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "documented": {},
    "ELBO": {"objective": "elbo"},
    "MSE": {"loss": "mse"},
}


def steps(study: Study, factor: str) -> list[str]:
    return list(dict.fromkeys(str(c.steps[0]) for c in study.contrasts.effects[factor]))


def judged(study: Study, factor: str) -> set[tuple[str, str]]:
    """(step, metric) of the main effects."""
    return {(str(c.steps[0]), c.metric.label) for c in study.contrasts.effects[factor]}


def names(contrast: Contrast) -> tuple[list[Any], list[str]]:
    return [v for _, v in contrast.held], [factor.name for factor in contrast.averaged]


def test_neighbours_are_compared_along_an_ordered_axis_and_each_with_the_first_else(
    store: Store,
) -> None:
    study = filled(store, design({"train.kl_weight": (2.0, 0.5, 1.0)}, VARIANTS))
    assert steps(study, "train.kl_weight") == ["KL weight 0.5 → 1", "KL weight 1 → 2"]
    assert steps(study, "variant") == ["documented → ELBO", "documented → MSE"]


def test_a_loss_is_judged_by_common_yardsticks_and_no_mean_is_over_losses(
    full_study: Study,
) -> None:
    assert judged(full_study, "loss") == {
        ("BCE → MSE", "scoreboard NLL"),
        ("BCE → MSE", "PSNR"),
    }
    by_metric = {c.metric.label: names(c) for c in full_study.contrasts.effects["latent"]}
    assert by_metric["NLL"] == (["mse"], ["depth"])
    assert by_metric["scoreboard NLL"] == ([], ["depth", "loss"])


def test_variants_are_judged_by_what_their_runs_share(store: Store) -> None:
    study = filled(store, design({"depth": (1, 2)}, VARIANTS))
    assert judged(study, "variant") == {
        ("documented → ELBO", "NLL"),
        ("documented → ELBO", "scoreboard NLL"),
        ("documented → MSE", "scoreboard NLL"),
        ("documented → MSE", "PSNR"),
    }
    own = [c for c in study.contrasts.effects["depth"] if c.metric.label == "NLL"]
    assert [names(c) for c in own] == [([name], []) for name in VARIANTS]


@pytest.mark.parametrize(
    ("axis", "values", "metrics"),
    [
        ("data.name", ("mnist", "kmnist"), set()),
        ("data.binarize", ("none", "dynamic"), {"scoreboard NLL"}),
    ],
)
def test_other_images_are_compared_by_what_they_have_in_common(
    store: Store, axis: str, values: tuple[str, ...], metrics: set[str]
) -> None:
    study = filled(store, design({axis: values, "depth": (1, 2)}))
    assert {metric for _, metric in judged(study, axis)} == metrics
    held = [v for c in study.contrasts.effects["depth"] for v, _ in [names(c)]]
    assert [values[0]] in held  # what may not be compared is never averaged either


def test_images_of_ones_own_are_other_images_whatever_they_are_called(store: Store) -> None:
    sizes = (20, 10, 6, 6)
    own = [
        {"data.path": f"{name}/x.npz", "data.name": "x", "data.sha256": 64 * name}
        | {"data.sizes": sizes}
        for name in "ab"
    ]
    same = {**own[0], "data.path": "c/x.npz"}
    study = filled(store, design({"depth": (1, 2)}, {"a": own[0], "b": own[1], "c": same}))
    assert {step for step, _ in judged(study, "variant")} == {"a → c"}


def test_noise_is_that_of_the_seeds_that_are_there(store: Store) -> None:
    def excess(run: RunConfig) -> dict[str, Any]:
        rate = math.nan if run.train.seed else 7.0
        known = {"rate_nats": rate, "elbo_nats": -57.5, "reconstruction_nats": 50.0}
        return {"metrics": record(run).metrics | known}

    study = filled(store, design({"depth": (2,), "loss": ("bce", "mse")}), excess)
    noises = [c.noise for c in study.contrasts.against_zero["kl_excess_nats"]]
    assert noises == pytest.approx([0.5, 0.5])


def test_a_number_under_a_second_name_speaks_once(store: Store) -> None:
    def same(run: RunConfig) -> dict[str, Any]:
        nll = 20.0 + run.train.seed * 0.1 + run.model.num_layers
        return {"metrics": {"nll_nats": nll, "scoreboard_nll_nats": nll * (1 + 1e-9)}}

    study = filled(store, design({"depth": (1, 2)}), same)
    assert {metric for _, metric in judged(study, "depth")} == {"NLL"}


def nll(run: RunConfig) -> float:
    """What depth 2 buys depends on the KL weight, and a little on the seed."""
    depth, weight, seed = run.model.num_layers, run.train.kl_weight, run.train.seed
    return 100.0 + seed - (depth - 1) * (2.0 * weight + 0.01 * seed) + 3.0 * weight


@pytest.fixture
def crossed(store: Store) -> Study:
    axes = {"depth": (1, 2), "train.kl_weight": (0.5, 1.0)}
    return filled(store, design(axes, seeds=4), lambda run: {"metrics": {"nll_nats": nll(run)}})


def test_a_main_effect_is_over_the_others_within_a_seed(crossed: Study) -> None:
    (effect,) = crossed.contrasts.effects["depth"]
    known = paired([-(1.0 + 2.0) / 2 - 0.01 * seed for seed in range(4)])
    assert effect.estimate[:4] == pytest.approx(known[:4])
    assert effect.estimate.correlation == pytest.approx(1.0)  # the seeds shift both sides
    at = {c.held[0][1]: c.estimate.mean for c in crossed.contrasts.by_cell["depth"]}
    assert at == pytest.approx({0.5: -1.015, 1.0: -2.015})


def test_an_interaction_is_the_difference_of_differences(crossed: Study) -> None:
    (found,) = crossed.contrasts.interactions["depth", "train.kl_weight"]
    assert " × ".join(map(str, found.steps)) == "depth 1 → 2 × KL weight 0.5 → 1"
    assert found.estimate.mean == pytest.approx(-1.0)


def test_all_pairs_of_what_varies_interact(store: Store) -> None:
    study = filled(store, design({"depth": (1, 2), "latent": (2, 20)}, VARIANTS, seeds=1))
    pairs = {("depth", "latent"), ("depth", "variant"), ("latent", "variant")}
    assert set(study.contrasts.interactions) == pairs
    assert all(study.contrasts.interactions.values())


def test_a_seed_that_lacks_a_cell_leaves_the_main_effect(store: Store) -> None:
    asked = design({"depth": (1, 2), "latent": (2, 20)}, seeds=4)

    def lacks(run: RunConfig) -> bool:
        return run.train.seed == 3 and value(run, "latent") == 20

    study = filled(store, asked, lambda run: {"metrics": {} if lacks(run) else {"nll_nats": 1.0}})
    (effect,) = study.contrasts.effects["depth"]
    assert effect.estimate.n == 3
    at = {c.held[0][1]: c.estimate.n for c in study.contrasts.by_cell["depth"]}
    assert at == {2: 4, 20: 3}


def test_a_question_is_one_family(full_study: Study) -> None:
    family = full_study.contrasts.effects["depth"]
    assert {contrast.metric.label for contrast in family} == {"NLL", "scoreboard NLL"}
    assert [c.holm_p for c in family] == holm(c.estimate.p for c in family)
    for contrast in family:
        assert contrast.detectable == contrast.estimate.detectable(len(family))


@pytest.mark.parametrize(("noise", "is_clear"), [(0.2, True), (0.3, False)])
def test_a_gap_that_shared_noise_can_fake_is_not_clear(
    store: Store, noise: float, is_clear: bool
) -> None:
    def metrics(run: RunConfig) -> dict[str, Any]:
        excess = 0.5 + 0.001 * run.train.seed
        loss = 50.0 + 2 * (7.0 + excess)
        known = {"reconstruction_nats": 50.0, "rate_nats": 7.0, "loss_documented": loss}
        return {"metrics": {**known, "elbo_nats": -57.0 - noise}}

    study = filled(store, design({"depth": (1, 2), "latent": (2, 20)}), metrics)
    (found,) = study.contrasts.against_zero["kl_excess_nats"]  # depth 1 has none
    assert names(found) == ([2], ["latent"])
    assert found.estimate.mean == pytest.approx(0.501)
    assert found.noise == pytest.approx(noise)
    assert found.holm_p < 0.05
    assert found.is_clear == is_clear


def test_two_seeds_are_not_clear_however_small_their_p(store: Store) -> None:
    def nll(run: RunConfig) -> dict[str, Any]:
        return {"metrics": {"nll_nats": float(run.model.num_layers)}}

    (found,) = filled(store, design({"depth": (1, 2)}, seeds=2), nll).contrasts.effects["depth"]
    assert (found.estimate.n, found.holm_p) == (2, 0.0)
    assert not found.is_clear


def test_without_runs_there_is_nothing_to_compare(store: Store) -> None:
    study = filled(store, design({"depth": (1, 2)}), lambda run: {"metrics": {"nll_nats": np.nan}})
    assert study.contrasts.effects == {"depth": ()}
    assert study.contrasts.against_zero == {}


def test_the_test_set_error_of_a_contrast_is_over_the_differences_of_images(store: Store) -> None:
    """Images differ by far more than models do on one of them: that cancels."""
    rng, images = np.random.default_rng(0), 400
    hard, effect = 20 * rng.normal(size=images), 1 + 0.1 * rng.normal(size=images)

    def nlls(run: RunConfig) -> Any:
        return 90 + hard + (run.model.num_layers - 1) * effect + 0.3 * run.train.seed

    def metrics(run: RunConfig) -> dict[str, Any]:
        return {"metrics": {"nll_nats": float(nlls(run).mean())}}

    asked = design({"depth": (1, 2)}, seeds=3)
    filled(store, asked, metrics)
    for run in asked.runs:
        arrays = {"nll_nats": nlls(run).astype(np.float32)}
        store.arrays_path(digest(run)).write_bytes(arrays_file(arrays))
    (contrast,) = study_of(store, asked).contrasts.effects["depth"]
    assert contrast.estimate.mean == pytest.approx(effect.mean())
    expected = effect.std(ddof=1) / images**0.5
    assert contrast.test_set_error == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("images", [(), (3, 4)])
def test_without_metrics_of_the_same_images_a_contrast_has_no_test_set_error(
    store: Store, images: tuple[int, ...]
) -> None:
    asked = design({"depth": (1, 2)}, seeds=1)
    filled(store, asked)
    for run, count in zip(asked.runs, images, strict=False):
        arrays = arrays_file({"nll_nats": np.zeros(count, np.float32)})
        store.arrays_path(digest(run)).write_bytes(arrays)
    effects = study_of(store, asked).contrasts.effects["depth"]
    assert effects
    assert all(math.isnan(contrast.test_set_error) for contrast in effects)


def test_of_older_records_the_encoders_bound_speaks(store: Store) -> None:
    def old(run: RunConfig) -> dict[str, Any]:
        return {"metrics": {"nll_encoder_nats": 90.0 - run.model.num_layers, "elbo_nats": -95.0}}

    study = filled(store, design({"depth": (1, 2)}), old)
    assert {metric for _, metric in judged(study, "depth")} == {"NLL by the encoders' draws"}
