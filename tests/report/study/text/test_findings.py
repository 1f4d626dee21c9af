"""Findings: the sentences say what the contrasts say."""

from collections.abc import Callable
from typing import Any

import pytest
from builders import design, filled, record, study_of

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.frames import Study
from report.study.text.findings import findings

DEPTH = {"depth": (1, 2)}


def sentences(study: Study, question: str) -> tuple[str, ...]:
    found = {finding.question: finding.sentences for finding in findings(study)}
    return found[question]


def nll(step: float) -> Callable[[RunConfig], dict[str, Any]]:
    """NLL 100, lower by `step` and a little seed noise per level."""

    def metrics(run: RunConfig) -> dict[str, Any]:
        seed, depth = run.train.seed, run.model.num_layers
        return {"metrics": {"nll_nats": 100.0 + seed - step * (depth - 1) + 0.01 * seed * depth}}

    return metrics


def test_a_clear_effect_is_stated_with_interval_n_and_p(store: Store) -> None:
    study = filled(store, design(DEPTH, seeds=5), nll(1.5))
    # Differences −1.5 + 0.01·seed: mean −1.48, sd 0.0158, t(0.975, 4) · sd / √5 = 0.0196.
    assert sentences(study, "What changes with the depth?") == (
        "Depth 1 → 2 lowers the NLL by 1.480 ± 0.020 nats (n = 5, Holm p < 0.001).",
    )


def test_no_effect_is_stated_with_the_margin_it_leaves(store: Store) -> None:
    study = filled(store, design(DEPTH, seeds=5), nll(0.02))
    (said,) = sentences(study, "What changes with the depth?")
    # Mean 0, sd 0.0158: the margin is t(0.95, 4) · sd / √5 = 0.0151.
    assert said.startswith("Depth 1 → 2: no effect on the NLL established, ")
    assert said.endswith("; any effect is under 0.016 nats (two one-sided tests at 0.05).")


def test_nothing_is_found_from_two_seeds(full_store: Store) -> None:
    found = findings(study_of(full_store, design(seeds=2)))
    assert "No finding: n = 2" in found[0].sentences[0]
    assert [finding.question for finding in found] == ["What was found?", "How sure is a number?"]


def test_a_question_whose_sides_share_two_seeds_is_left_open(store: Store) -> None:
    asked = design(DEPTH)
    for run in asked.runs[:-1]:  # of depth 2 two seeds
        store.write(record(run))
    (said,) = sentences(study_of(store, asked), "What changes with the depth?")
    assert said.startswith("No finding: what is compared here is complete for 2 of the paired")


def test_what_is_held_and_what_is_averaged_is_said(full_study: Study) -> None:
    said = sentences(full_study, "What changes with the depth?")
    assert said[0].startswith("Depth 1 → 2 (BCE, mean over latent size) lowers the NLL by 1.5")
    assert any(s.startswith("Depth 1 → 2 (mean over loss and latent size)") for s in said)


def test_a_variant_is_set_against_the_first(store: Store) -> None:
    variants = {"documented": {}, "ELBO": {"objective": "elbo"}}

    def metrics(run: RunConfig) -> dict[str, Any]:
        cost = 2.0 + 0.01 * run.train.seed if run.train.objective == "documented" else 0.0
        return {"metrics": {"nll_nats": 100.0 + cost}}

    said = sentences(filled(store, design({}, variants), metrics), "What changes with the variant?")
    assert said == (
        "Documented → ELBO lowers the NLL by 2.010 ± 0.025 nats (n = 3, Holm p < 0.001).",
    )


def test_the_top_level_is_priced(full_study: Study) -> None:
    said = sentences(full_study, "What does a living top level add?")
    assert len(said) == 4  # depths 2 and 3, two losses
    words = "Depth 3, BCE, mean over latent size: an image is 0.2"
    assert words in "; ".join(said)


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        (0.5, "the documented loss charges 0.501 ± 0.0025 nats more KL than the joint posterior"),
        (-0.5, "the documented loss charges 0.499 ± 0.0025 nats less KL than the joint posterior"),
        (0.0, "no excess of the charged KL established, 0.0010 ± 0.0025 nats"),
    ],
)
def test_the_excess_of_the_charged_kl_is_one_finding(
    store: Store, excess: float, words: str
) -> None:
    def metrics(run: RunConfig) -> dict[str, Any]:
        loss = 50.0 + 2 * (7.0 + excess + 0.001 * run.train.seed)
        known = {"reconstruction_nats": 50.0, "rate_nats": 7.0, "loss_documented": loss}
        return {"metrics": known | {"elbo_nats": -57.0}}

    question = "Is the KL that the documented loss charges that of the joint posterior?"
    (said,) = sentences(filled(store, design(DEPTH), metrics), question)
    assert said.startswith(
        f"Depth 2: {words}".replace("0.501 ", "0.5010 ").replace("0.499 ", "0.4990 ")
    )


def test_a_factor_that_does_not_vary_raises_no_question(full_store: Store) -> None:
    axes = {"depth": (2,), "loss": ("bce",), "latent": (20,)}
    found = findings(study_of(full_store, design(axes)))
    assert [f.question for f in found] == [
        "What does a living top level add?",
        "Is the KL that the documented loss charges that of the joint posterior?",
        "Which top levels are alive?",
        "How sure is a number?",
    ]


def test_an_interaction_is_named_where_there_is_one(store: Store) -> None:
    def metrics(run: RunConfig) -> dict[str, Any]:
        seed, depth, latent = run.train.seed, run.model.num_layers, run.model.latent_dim
        bump = 3.0 if (depth, latent) == (2, 20) else 0.0
        return {"metrics": {"nll_nats": 100.0 + seed + bump + 0.001 * seed * latent * depth}}

    study = filled(store, design({**DEPTH, "latent": (2, 20)}, seeds=4), metrics)
    (said,) = sentences(study, "Does the effect of the depth depend on the latent size?")
    assert said.startswith("The step depth 1 → 2 changes the NLL by 3.0")
    assert "higher at latent size 20 than at latent size 2" in said


@pytest.mark.parametrize("bump", [0.0, 3.0])
def test_an_interaction_on_an_nll_that_is_not_certified_says_so(store: Store, bump: float) -> None:
    def metrics(run: RunConfig) -> dict[str, Any]:
        seed, depth, latent = run.train.seed, run.model.num_layers, run.model.latent_dim
        nll = 100.0 + bump * ((depth, latent) == (2, 20)) + 0.01 * ((seed * depth * latent) % 7)
        return {"metrics": {"nll_nats": nll, "nll_gap_nats": 0.9 if bump == 0 else 7.0}}

    study = filled(store, design({**DEPTH, "latent": (2, 20)}, seeds=4), metrics)
    (said,) = sentences(study, "Does the effect of the depth depend on the latent size?")
    assert ("No effect established" in said) == (bump == 0)
    assert said.endswith(" (not certified).")


def test_without_a_finished_run_there_is_one_plain_sentence(store: Store) -> None:
    (only,) = findings(study_of(store, design()))
    assert only.sentences == ("Nothing yet: no run of this study has finished.",)
