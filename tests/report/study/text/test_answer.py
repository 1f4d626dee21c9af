"""What a page says first: what was trained, the answer, and what not to trust."""

from dataclasses import replace
from typing import Any

import pytest
from builders import SMALL, design, filled, record, study_of

from hvae.config import RunConfig
from hvae.records.store import Store
from hvae.settings import override
from report.data.frames import Study
from report.study.text.answer import answer, asked, proof_of
from report.study.text.cautions import cautions
from report.study.text.findings import findings
from report.study.text.setup import setup

DEAD = "the KL is under 0.01 nats, its error allowed for."
VARIANTS: dict[str, dict[str, Any]] = {"documented": {}, "ELBO": {"objective": "elbo"}}


def with_metrics(**given: Any) -> Any:
    """Records of those metrics, a function of the run where they are one."""

    def change(run: RunConfig) -> dict[str, Any]:
        own = {name: held(run) if callable(held) else held for name, held in given.items()}
        return {"metrics": record(run).metrics | own}

    return change


def nll(run: RunConfig) -> float:
    """Depth 2 is 2 nats better than depth 1, and depth 3 as good as depth 2."""
    return 100.0 - 2.0 * (run.model.num_layers > 1) + 0.01 * (run.train.seed % 3)


def test_a_factor_is_answered_step_by_step_with_its_proof(store: Store) -> None:
    def jittered(run: RunConfig) -> float:
        return nll(run) + 0.02 * ((run.train.seed * run.model.num_layers) % 4)

    study = filled(store, design({"depth": (1, 2, 3)}, seeds=5), with_metrics(nll_nats=jittered))
    (said,) = answer(study)
    assert said.startswith("Depth: 1 → 2 lowers the NLL by 2.0")
    assert "; no effect on the NLL is established for 2 → 3 (any is under 0.0" in said
    assert " nats (n = 5, Holm p < 0.001); " in said  # of what is said, and of no other metric


def test_variants_are_answered_against_the_first(store: Store) -> None:
    def better(run: RunConfig) -> float:
        return 98.0 - 3.0 * (run.train.objective == "elbo") + 0.1 * run.train.seed**2

    study = filled(store, design({"depth": (1, 2)}, VARIANTS), with_metrics(nll_nats=better))
    assert answer(study) == [
        "Against documented, on average over depth: ELBO lowers the NLL by 3.000 ± 0 nats "
        "(n = 3, Holm p < 0.001)."
    ]


@pytest.mark.parametrize(
    ("changes", "mean", "cells"),
    [
        (
            {5: (9, -9, 5, -5, 0), 20: (-2, -2.02, -1.98, -2.01, -1.99)},
            "no effect on the NLL is established for 1 → 2",
            "lowers the NLL by 2.000 ± 0.020 nats (latent size 20)",
        ),
        (
            {2: (1, 1.02, 0.98, 1.01, 0.99), 20: (-3, -3.02, -2.98, -3.01, -2.99)},
            "1 → 2 lowers the NLL by 1.000 ± 0 nats",
            "raises the NLL by 1.000 ± 0.020 nats (latent size 2)",
        ),
    ],
)
def test_what_the_mean_over_cells_hides_is_said(
    store: Store, changes: dict[int, tuple[float, ...]], mean: str, cells: str
) -> None:
    def drowned(run: RunConfig) -> float:
        by_seed = changes[run.model.latent_dim]
        return 100.0 + by_seed[run.train.seed] * (run.model.num_layers == 2)

    asked_for = design({"depth": (1, 2), "latent": tuple(changes)}, seeds=5)
    (said,) = answer(filled(store, asked_for, with_metrics(nll_nats=drowned)))
    assert said.startswith(f"Depth, on average over latent size: {mean}")
    assert f"; in single cells 1 → 2 {cells} (n = 5, Holm p " in said


def test_cells_that_all_do_as_their_mean_does_are_not_said_again(store: Store) -> None:
    asked_for = design({"depth": (1, 2), "latent": (2, 20)}, seeds=5)
    (said,) = answer(filled(store, asked_for, with_metrics(nll_nats=nll)))
    assert "lowers the NLL by 2.0" in said
    assert "single cells" not in said


@pytest.mark.parametrize(
    ("p", "said"), [(0.01028, "≤ 0.011"), (0.0451, "≤ 0.046"), (5e-4, "< 0.001")]
)
def test_a_bound_on_p_is_not_rounded_down(store: Store, p: float, said: str) -> None:
    study = filled(store, design({"depth": (1, 2)}, seeds=3), with_metrics(nll_nats=nll))
    contrast = replace(study.contrasts.effects["depth"][0], holm_p=p)
    assert proof_of([contrast]) == f" (n = 3, Holm p {said})"


def test_a_variant_of_another_likelihood_is_answered_by_what_all_share(store: Store) -> None:
    def yardstick(run: RunConfig) -> float:
        gain = 3.0 * (run.train.objective == "elbo") - 5.0 * (run.train.loss == "mse")
        return 98.0 - gain + 0.1 * run.train.seed**2

    variants = VARIANTS | {"MSE": {"loss": "mse"}, "binary": {"data.binarize": "dynamic"}}
    asked_for = design({"depth": (1, 2)}, variants)
    known = with_metrics(scoreboard_nll_nats=yardstick)
    assert answer(filled(store, asked_for, known))[0].startswith(
        "Against documented, on average over depth: ELBO lowers the scoreboard NLL by 3.000 ± 0 "
        "nats; MSE raises the scoreboard NLL by 5.000 ± 0 nats"
    )
    apart = VARIANTS | {"KMNIST": {"data.name": "kmnist"}}
    (said,) = answer(filled(store, design({"depth": (1,)}, apart), known))
    assert said.endswith("; the NLL cannot judge KMNIST.")


def test_a_step_that_raises_here_and_lowers_there_moves(store: Store) -> None:
    def crossing(run: RunConfig) -> float:
        change = 1.0 if run.train.loss == "bce" else -2.0
        return 100.0 + change * (run.model.num_layers - 1)

    study = filled(
        store, design({"depth": (1, 2), "loss": ("bce", "mse")}), with_metrics(nll_nats=crossing)
    )
    moved = "1 → 2 moves the NLL by 1.000 ± 0 nats (BCE) and 2.000 ± 0 nats (MSE) (n = 3"
    assert moved in answer(study)[0]


@pytest.mark.parametrize(
    ("by_seed", "first", "last"),
    [
        (
            (1.0, 1.0, 1.0),
            "d lowers the NLL by 3.000 ± 0 nats; ",
            "; h lowers the NLL by 7.000 ± 0 nats, and 2 more of its steps change it (n = 3",
        ),
        ((-1.0, 0.0, 1.0), "no effect on the NLL is established for 7 of its steps (any ", ""),
    ],
)
def test_of_many_steps_the_largest_are_named_and_the_others_counted(
    store: Store, by_seed: tuple[float, ...], first: str, last: str
) -> None:
    variants = {name: {"train.kl_weight": 1.0 + place} for place, name in enumerate("abcdefgh")}

    def stepped(run: RunConfig) -> float:
        return 100.0 - (run.train.kl_weight - 1.0) * by_seed[run.train.seed]

    study = filled(store, design({"depth": (1,)}, variants), with_metrics(nll_nats=stepped))
    (said,) = answer(study)
    assert said.startswith(f"Against a: {first}")
    assert last in said


def test_an_answer_has_three_sentences_at_most(store: Store) -> None:
    axes = {"depth": (1, 2), "latent": (2, 20), "loss": ("bce", "mse"), "train.epochs": (1, 2)}
    asked_for = replace(design(axes), question="")
    study = filled(store, asked_for, with_metrics(nll_nats=nll))
    assert len(asked(study)) == 4
    assert len(answer(study)) == 3


def test_nothing_is_claimed_of_two_seeds_or_of_none(store: Store) -> None:
    (said,) = answer(filled(store, design({"depth": (1, 2)}, seeds=2)))
    assert said.startswith("No finding: n = 2")
    (said,) = answer(filled(store, design({"depth": (7,)}, seeds=0)))
    assert said == "Nothing yet: no run of this study has finished."


def test_a_question_names_its_factors(full_study: Study) -> None:
    assert [factor.name for factor in asked(full_study)] == ["depth"]  # Does <depth> help?


def test_dead_levels_and_wide_bounds_and_lost_proposals_are_named(store: Store) -> None:
    def kl(run: RunConfig) -> list[float]:
        return [9.0, 0.5, 0.0][: run.model.num_layers]

    def gap(run: RunConfig) -> float:
        return 7.0 if run.model.num_layers == 3 else 0.1

    metrics = {"kl_per_level_nats": kl, "nll_gap_nats": gap, "nll_fallback_images": 0.0}
    asked_for = design({"depth": (1, 2, 3)})
    found = cautions(filled(store, asked_for, with_metrics(**metrics)))
    assert [caution.kind for caution in found] == ["Dead levels", "Not certified"]
    assert found[0].text == f"level 3 in 3 of 3 runs: {DEAD}"
    assert found[1].text == (
        "the NLL of 3 of 9 runs (depth 3): on images that the model drew its bounds are over 1 nat "
        "apart, up to 7.0."
    )
    lost = filled(store, design({"latent": (2, 3)}), with_metrics(nll_fallback_images=390.0))
    assert "for 390 of 400 images it is the encoders' bound" in cautions(lost)[-1].text


def test_two_reasons_that_doubt_the_same_runs_are_one_sentence(store: Store) -> None:
    both = with_metrics(nll_gap_nats=1.5, nll_fallback_images=390.0)
    (told,) = cautions(filled(store, design({"latent": (2, 3)}), both))
    assert told.text == (
        "the NLL of 6 of 6 runs: on images that the model drew its bounds are over 1 nat apart, up "
        "to 1.5, and for 390 of 400 images it is the encoders' bound, for want of a closer "
        "Gaussian."
    )


def test_an_effect_on_an_nll_that_is_not_certified_says_so_and_where(store: Store) -> None:
    def gap(run: RunConfig) -> float:
        return 7.0 if run.train.loss == "mse" and run.model.latent_dim == 2 else 0.1

    def better(run: RunConfig) -> float:
        steps = {2: 0.0, 5: 3.0, 10: 4.0 if run.train.loss == "bce" else 3.0}
        return 98.0 - steps[run.model.latent_dim] + 0.01 * (run.train.seed % 2)

    asked_for = design({"latent": (2, 5, 10), "loss": ("bce", "mse")})
    said = answer(filled(store, asked_for, with_metrics(nll_nats=better, nll_gap_nats=gap)))[0]
    assert "by 3.000 ± 0 nats (BCE) and 3.000 ± 0 nats (MSE, not certified); 5 → 10" in said
    assert "5 → 10 lowers the NLL by 1.000 ± 0 nats (BCE) (" in said


def test_an_effect_smaller_than_the_gap_of_the_bounds_is_not_certified(store: Store) -> None:
    def jittered(run: RunConfig) -> float:
        return nll(run) + 0.02 * ((run.train.seed * run.model.num_layers) % 4)

    def study(gap: float) -> Study:
        metrics = with_metrics(nll_nats=jittered, nll_gap_nats=gap)
        apart = Store(store.folder / str(gap))
        apart.open_for_writing()
        return filled(apart, design({"depth": (1, 2, 3)}, seeds=5), metrics)

    close, wide = study(0.01), study(0.5)
    assert "not certified" not in answer(close)[0]
    assert " nats (n = 5" in answer(wide)[0]  # an effect of 2 nats is larger than the gap
    assert "nats, not certified)" in answer(wide)[0]  # nobody knows that it is under 0.1 nats
    (found,) = (f.sentences for f in findings(wide) if "the depth" in f.question)
    doubted = [words.endswith(" (not certified).") for words in found if " the NLL" in words]
    assert doubted == [False, True]


def test_what_is_the_same_on_every_seed_is_said_to_be_so(store: Store) -> None:
    metrics = with_metrics(nll_nats=nll, nll_gap_nats=0.5)
    study = filled(store, design({"depth": (2, 3)}, seeds=5), metrics)
    assert answer(study)[0] == "Depth: the NLL is the same on every seed for 2 → 3."
    (found,) = (f.sentences for f in findings(study) if "the depth" in f.question)
    assert "Depth 2 → 3: the NLL is the same on every seed (n = 5)." in found


def test_a_margin_of_a_mean_over_cells_says_so(store: Store) -> None:
    def drowned(run: RunConfig) -> float:
        return 100.0 + (run.train.seed % 2) * (run.model.num_layers == 2)

    asked_for = design({"depth": (1, 2), "latent": (2, 20)}, seeds=5)
    (said,) = answer(filled(store, asked_for, with_metrics(nll_nats=drowned)))
    assert "is established for 1 → 2 (any such mean is under" in said


def test_an_effect_at_many_places_is_a_range(store: Store) -> None:
    sizes = {"bce": 3.0, "mse": 1.0, "gaussian": 2.0, "continuous-bernoulli": 0.0}

    def better(run: RunConfig) -> float:
        return 98.0 - sizes[run.train.loss] * (run.model.latent_dim == 5)

    def gap(run: RunConfig) -> float:
        return 7.0 if run.train.loss == "mse" else 0.1

    asked_for = design({"latent": (2, 5), "loss": tuple(sizes)})
    said = answer(filled(store, asked_for, with_metrics(nll_nats=better, nll_gap_nats=gap)))[0]
    expected = "by 1.000 ± 0 nats to 3.000 ± 0 nats (3 of 4 places, 1 of them not certified) ("
    assert expected in said


def test_dead_levels_are_placed_where_others_live(store: Store) -> None:
    def kl(run: RunConfig) -> list[float]:
        return [9.0, 0.5 if run.train.objective == "elbo" else 0.0]

    study = filled(store, design({"depth": (2,)}, VARIANTS), with_metrics(kl_per_level_nats=kl))
    (dead,) = (caution for caution in cautions(study) if caution.kind == "Dead levels")
    assert dead.text == f"level 2 in 3 of 6 runs (documented): {DEAD}"


def test_what_differs_is_not_said_of_all_runs_and_what_is_unusual_is(store: Store) -> None:
    asked_for = design({"train.epochs": (3, 4), "train.kl_weight": (0.5,)})
    said = setup(filled(store, asked_for))
    assert "epochs" not in said
    assert "KL weight 0.5" in said
    assert "3 seeds" in said
    assert "1 epoch;" in setup(filled(store, design({"train.epochs": (1,)}, seeds=1)))


def test_images_that_are_binarised_are_said_to_be_whatever_else_differs(store: Store) -> None:
    asked_for = design({"data.name": ("mnist", "kmnist"), "data.binarize": ("dynamic",)}, seeds=1)
    assert setup(filled(store, asked_for)).startswith("binarised anew every epoch; ")


def test_where_nothing_is_established_the_metric_is_named_all_the_same(store: Store) -> None:
    def same(run: RunConfig) -> float:
        return 90.0 + 0.1 * ((run.train.seed + run.model.num_layers) % 3)

    (said,) = answer(filled(store, design({"depth": (1, 2)}), with_metrics(nll_nats=same)))
    assert said.startswith("Depth: no effect on the NLL is established for 1 → 2 (any is under 0.")


def test_steps_that_too_few_seeds_have_are_said_to_be_incomplete(store: Store) -> None:
    asked_for = design({"depth": (1, 2, 3)}, seeds=3)
    for run in asked_for.runs[:-1]:  # of depth 3 two seeds
        made = record(run)
        store.write(replace(made, metrics=made.metrics | {"nll_nats": nll(run)}))
    study = study_of(store, asked_for)
    (said,) = answer(study)
    assert "1 → 2 lowers the NLL by 2.0" in said
    assert said.endswith("; 2 → 3: not complete for 3 paired seeds.")
    assert "cannot judge" not in said
    (found,) = (f.sentences for f in findings(study) if "the depth" in f.question)
    assert "Depth 2 → 3: no finding on the NLL, n = 2 complete paired seeds." in found


def test_where_nothing_is_compared_the_answer_says_so(store: Store) -> None:
    (said,) = answer(filled(store, design({"depth": (2,)}, seeds=3)))
    assert said.startswith("Nothing is compared: the study has one cell.")
    asked_for = design({"depth": (1, 2)}, seeds=3, base=override(SMALL, {"latent": 3}))
    for run in asked_for.runs:
        if run.model.num_layers == 1:
            store.write(record(run))
    (said,) = answer(study_of(store, asked_for))
    assert said.startswith("No finding: no two sides of what is compared are complete for 3")


def test_levels_leave_room_for_what_they_are_worth(store: Store) -> None:
    def kl(run: RunConfig) -> list[float]:
        depth = run.model.num_layers
        return [1.0] * (depth - 1) + [1.0 if run.train.objective == "elbo" else 0.0]

    asked_for = replace(
        design({"depth": (2, 3, 4)}, VARIANTS), question="Which choice wakes which level?"
    )
    said = answer(filled(store, asked_for, with_metrics(kl_per_level_nats=kl)))
    assert len(said) == 3
    assert "lives in every seed" in said[1]
    assert said[2].startswith("Against documented")


def test_two_files_of_one_name_are_not_described_as_one(store: Store) -> None:
    def own(path: str, sha256: str) -> dict[str, Any]:
        sizes = (9, 9, 8, 8)
        return {
            f"data.{name}": held
            for name, held in {
                **{"path": path, "name": "images", "sha256": sha256 * 64, "sizes": sizes}
            }.items()
        }

    variants = {"one": own("v1/images.npz", "a"), "other": own("v2/images.npz", "b")}
    study = filled(store, design({"depth": (1,)}, variants, seeds=1))
    assert "images of" not in setup(study)
    assert "of 8 × 8" in setup(filled(store, design({"depth": (1,)}, seeds=1)))
