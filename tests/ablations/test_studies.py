"""What a study asks, what it refuses, and what narrowing it changes."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ablations.grid import design, runs
from ablations.presets import PRESETS
from ablations.studies import Study, Variant, narrow
from hvae.closed_form import parameter_count
from hvae.config import RunConfig
from hvae.datasets import DATASETS
from hvae.settings import digest, override, value

ELBO = Variant("ELBO", {"objective": "elbo"})
WARM_UP = Variant("ELBO, warm-up", {"train.objective": "elbo", "train.kl_warmup_epochs": 10})


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("quick", {"depth": (1, 2, 3, 4), "loss": ("bce", "mse"), "latent": (2, 20), "seed": 3}),
        (
            "standard",
            {
                "depth": (1, 2, 3, 4),
                "loss": ("bce", "mse"),
                "latent": (2, 5, 10, 20, 50),
                "seed": 5,
            },
        ),
        ("objective", {"depth": (1, 2, 3, 4), "objective": ("documented", "elbo"), "seed": 5}),
    ],
)
def test_a_preset_is_every_combination_of_its_axes(name: str, axes: dict[str, Any]) -> None:
    grid = runs(PRESETS[name])
    swept = axes | {"seed": tuple(range(axes["seed"]))}
    for axis, values in swept.items():
        assert {value(run, axis) for run in grid} == set(values)
    assert len(set(grid)) == len(grid) == math.prod(map(len, swept.values()))
    assert PRESETS[name].question
    assert PRESETS[name].budget


def test_presets_run_what_is_documented() -> None:
    assert RunConfig() in runs(PRESETS["standard"])
    assert parameter_count(RunConfig().model) == 174_084
    assert {run.data.binarize for run in runs(PRESETS["objective"])} == {"dynamic"}
    quick = override(
        RunConfig(),
        {
            "data.name": "digits",
            "train.epochs": 60,
            "train.learning_rate": 3e-3,
            "evaluation.importance_samples": 100,
            "evaluation.nll_images": 100,
        },
    )
    assert quick in runs(PRESETS["quick"])


def test_the_levels_study_crosses_the_weight_of_the_kl_with_its_form() -> None:
    study = PRESETS["levels"]
    grid = runs(study)
    assert len(grid) == len(set(grid)) == 6 * 4 * 10
    assert {run.data.binarize for run in grid} == {"dynamic"}
    # The documented loss weighs the KL twice: half of that is its weight 1.
    plain = [run.train for run in grid if not run.train.kl_warmup_epochs + run.train.free_bits]
    crossed = {
        (train.objective, train.kl_weight * (2 if train.objective == "documented" else 1))
        for train in plain
    }
    assert crossed == {(form, weight) for form in ("documented", "elbo") for weight in (1.0, 2.0)}
    assert study.variants[0].settings == {}  # the reference is what is documented


def test_variants_replace_the_studys_settings_and_come_before_the_axes() -> None:
    settings = {"train.epochs": 5, "train.kl_warmup_epochs": 1}
    variants = (Variant("documented"), ELBO, WARM_UP)
    study = Study("s", "", settings, {"depth": (2, 3)}, variants, seeds=2)
    told = [
        (run.train.seed, variant, run.model.num_layers, run.train.kl_warmup_epochs)
        for run, variant in zip(runs(study), design(study).variant_of, strict=True)
    ]
    assert told == [
        (seed, variant, depth, warm_up)
        for seed in (0, 1)
        for variant, warm_up in (("documented", 1), ("ELBO", 1), ("ELBO, warm-up", 10))
        for depth in (2, 3)
    ]
    assert {run.train.epochs for run in runs(study)} == {5}


def test_combinations_are_validated_not_what_they_have_in_common() -> None:
    """Five samples mean nothing to the documented objective, which no run of these has."""
    samples = {"train.importance_samples": 5}
    studies = (
        Study("s", settings={"objective": "iwae"}, axes={"train.importance_samples": (1, 5)}),
        Study("s", settings=samples, axes={"objective": ("iwae",)}),
        Study("s", settings=samples, variants=(Variant("IWAE", {"objective": "iwae"}),)),
    )
    for study in studies:
        assert runs(study)[-1].train.importance_samples == 5
    told = r"^train\.importance_samples: 5 has no meaning for objective 'elbo', only for 'iwae'"
    with pytest.raises(ValueError, match=told):
        Study("s", settings=samples, axes={"objective": ("iwae", "elbo")})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"axes": {"depth": ()}}, r"depth: \(\) is no axis; allowed: a list of one value or mo"),
        ({"axes": {"depth": 2}}, r"depth: 2 is no axis"),
        (
            {"axes": (("depth", (1,)),)},
            r"axes: .* is not allowed; allowed: lists by their settings",
        ),
        ({"axes": {"loss": "bce"}}, r"loss: 'bce' is no axis"),
        ({"axes": {"depth": (1, 1)}}, "depth: 1 is given twice; allowed: distinct values"),
        ({"axes": {"depth": (0,)}}, "depth: 0 is not allowed; allowed: integers ≥ 1"),
        ({"axes": {"depth": (1.5,)}}, "depth: 1.5 is not allowed"),
        ({"axes": {"loss": ("l1",)}}, "loss: 'l1' is not allowed; allowed: bce, mse"),
        ({"axes": {"loss": ([1],)}}, r"loss: \[1\] is not allowed"),
        ({"axes": {"data.name": (["x"],)}}, r"data\.name: \['x'\] is not allowed"),
        ({"axes": {"dept": (1,)}}, "unknown setting 'dept'; allowed: .*depth"),
        ({"axes": {"seed": (1,)}}, "seed: a study neither sweeps nor sets it; allowed: .*depth"),
        ({"settings": {"model.input_dim": 9}}, r"model\.input_dim: a study neither"),
        (
            {"settings": {"depth": 1, "model.num_layers": 2}},
            "depth: it is given twice; allowed: once",
        ),
        ({"settings": {"data.name": "cifar"}}, r"data\.name: 'cifar' is not allowed; allowed: dig"),
        (
            {"settings": {"depth": 1}, "axes": {"depth": (2,)}},
            "depth: the study sets what an axis sweeps; allowed: one of the two",
        ),
        (
            {"variants": (ELBO,), "axes": {"objective": ("elbo",)}},
            "objective: variant 'ELBO' sets what an axis sweeps",
        ),
        ({"variants": (ELBO, ELBO)}, "variant: 'ELBO' is given twice; allowed: distinct names"),
        (
            {"variants": (ELBO, replace(ELBO, name="same"))},
            "variants: 'ELBO' and 'same' are the same runs; allowed: distinct settings",
        ),
        ({"variants": (Variant(" "),)}, "variant: name ' ' is not allowed; allowed: 1 to 60 print"),
        ({"variants": (Variant("a\nb"),)}, "variant: name 'a.nb' is not allowed"),
        ({"variants": (Variant("x" * 61),)}, "variant: name 'x{61}' is not allowed"),
        ({"variants": (Variant("v", {"dept": 1}),)}, "unknown setting 'dept'"),
        ({"seeds": 0}, "seeds: 0 is not allowed; allowed: integers ≥ 1"),
        ({"seeds": 100_001}, "study: 100,001 runs are too many; allowed: at most 100,000"),
        (
            {"axes": {"depth": tuple(range(1, 400)), "latent": tuple(range(1, 400))}},
            "study: 159,201 runs are too many",
        ),
        (
            {"axes": {"depth": (2**53 + 1,)}},
            "depth: it is too large; allowed: integers from 1 to 9",
        ),
        ({"name": "a/b"}, "name: 'a/b' is not allowed; allowed: at most 100 ASCII letters, digits"),
        ({"name": "Ünicode"}, "name: 'Ünicode' is not allowed; allowed: at most 100 ASCII"),
        ({"name": "x" * 101}, "name: 'x{101}' is not allowed"),
    ],
)
def test_a_study_refuses_in_one_line_what_cannot_be_run(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}") as caught:
        Study(**{"name": "s", **change})
    assert "\n" not in str(caught.value)


def test_values_of_numpy_and_ranges_are_those_of_python() -> None:
    axes = {"depth": range(1, 3), "latent": list(np.array([2, 20])), "train.kl_weight": np.ones(1)}
    study = Study("s", axes=axes, settings={"train.epochs": np.int64(5)}, seeds=np.int64(2))
    same = {"depth": [1, 2], "latent": [2, 20], "train.kl_weight": [1.0]}
    assert study == Study("s", axes=same, settings={"train.epochs": 5}, seeds=2)
    assert type(study.seeds) is int
    assert {type(held) for values in study.axes.values() for held in values} == {int, float}
    assert [digest(run) for run in runs(narrow(study, {"latent": np.array([2])}))] == [
        digest(run) for run in runs(study) if run.model.latent_dim == 2
    ]


def test_a_variant_may_be_called_anything_that_prints() -> None:
    names = ("ELBO, β = ½ <b>&</b>", "x" * 60)
    study = Study("s", variants=(Variant(names[0]), Variant(names[1], {"depth": 3})))
    assert design(study).variant_of == names


def test_settings_are_known_by_either_name() -> None:
    short = Study("s", axes={"depth": (1, 2)}, settings={"latent": 3})
    assert short == Study("s", axes={"model.num_layers": (1, 2)}, settings={"latent": 3})
    assert design(short).axes == ("depth",)


@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_narrowing_by_nothing_changes_nothing(study: Study) -> None:
    assert narrow(study) == study


def test_narrowing_replaces_adds_and_sets_and_keeps_the_name() -> None:
    axes = {"depth": (5,), "loss": ("mse",), "train.learning_rate": (1e-3, 1e-2)}
    study = narrow(PRESETS["quick"], axes, {"train.epochs": 1}, seeds=1)
    assert study.name == "quick"
    assert [*study.axes] == ["depth", "loss", "latent", "train.learning_rate"]
    names = ("depth", "loss", "latent", "train.learning_rate", "train.epochs", "data.name")
    assert [tuple(value(run, name) for name in names) for run in runs(study)] == [
        (5, "mse", latent, rate, 1, "digits") for latent in (2, 20) for rate in (1e-3, 1e-2)
    ]


def test_what_is_swept_cannot_be_set_too() -> None:
    with pytest.raises(ValueError, match=r"^depth: the study sets what an axis sweeps"):
        narrow(PRESETS["quick"], settings={"depth": 1})


def test_what_a_variant_sets_is_not_set_over_its_head() -> None:
    study = Study("s", variants=(Variant("documented"), ELBO))
    told = "^objective: variant 'ELBO' sets it; allowed: what no variant that runs sets$"
    with pytest.raises(ValueError, match=told):
        narrow(study, settings={"objective": "iwae"})
    alone = narrow(study, settings={"objective": "iwae"}, variants=["documented"])
    assert {run.train.objective for run in runs(alone)} == {"iwae"}


@pytest.mark.parametrize("name", DATASETS)
def test_data_bring_their_pixels(name: str) -> None:
    study = narrow(PRESETS["objective"], settings={"data.name": name})
    assert {run.model.input_dim for run in runs(study)} == {DATASETS[name].pixels}
    assert {run.data.binarize for run in runs(study)} == {"dynamic"}


def test_variants_are_narrowed_by_name_in_the_order_of_the_study() -> None:
    study = Study("s", variants=(Variant("documented"), ELBO, WARM_UP))
    chosen = narrow(study, variants=("ELBO, warm-up", "documented"))
    assert design(chosen).variant_of == ("documented", "ELBO, warm-up")
    assert set(runs(chosen)) < set(runs(study))
    with pytest.raises(
        ValueError, match=r"^variant: 'elbo' is not known; allowed: 'documented', 'E"
    ):
        narrow(study, variants=("elbo",))
    with pytest.raises(ValueError, match="allowed: none, the study has no variants"):
        narrow(PRESETS["quick"], variants=("ELBO",))
