"""Findings: the sentences say what the statistics say."""

import re
from collections.abc import Callable

from hvae.config import RunConfig
from hvae.records.store import Record, Store
from report.data.frames import load
from report.study.findings import findings
from report.study.wording import Finding

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def sentences(found: list[Finding], question: str) -> tuple[str, ...]:
    return next(finding.sentences for finding in found if finding.question == question)


def write_nll(store: Store, make_record: Make, configs: list[RunConfig], step: float) -> None:
    """NLL 100, lower by `step` and a little seed noise per level."""
    for config in configs:
        seed, depth = config.train.seed, config.model.num_layers
        nll = 100.0 + seed - step * (depth - 1) + 0.01 * seed * depth
        store.write(make_record(config, metrics={"nll_nats": nll}))


def test_a_clear_effect_is_stated_with_interval_n_and_p(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 5)
    write_nll(store, make_record, configs, 1.5)
    (said,) = sentences(findings(load(store, configs)), "Does another level help?")
    # Differences −1.5 + 0.01·seed: mean −1.48, sd 0.0158, t(0.975, 4) · sd / √5 = 0.0196.
    assert said == (
        "Depth 1 → 2 (BCE, latent 20) lowers the NLL by 1.480 ± 0.020 nats (n = 5, Holm p < 0.001)."
    )


def test_no_effect_is_stated_with_what_could_have_been_seen(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 5)
    write_nll(store, make_record, configs, 0.02)
    (said,) = sentences(findings(load(store, configs)), "Does another level help?")
    # sd 0.0158, n 5: detectable 1.682 · 0.0158 = 0.027.
    assert said.startswith("Depth 1 → 2 (BCE, latent 20): no effect on the NLL established, ")
    assert said.endswith("effects under 0.027 nats are not reliably detectable here.")


def test_nothing_is_found_from_two_seeds(full_store: Store, make_grid: Grid) -> None:
    found = findings(load(full_store, make_grid(seeds=2)))
    assert "No finding: n = 2" in found[0].sentences[0]
    assert not any("Holm" in said for finding in found for said in finding.sentences)


def test_losses_are_compared_on_common_yardsticks_only(full_store: Store, make_grid: Grid) -> None:
    said = sentences(findings(load(full_store, make_grid())), "BCE or MSE?")
    assert {re.search(r"the (scoreboard NLL|PSNR|NLL|ELBO) ", s)[1] for s in said} == {  # type: ignore[index]
        "scoreboard NLL",
        "PSNR",
    }


def test_the_top_level_is_priced(full_store: Store, make_grid: Grid) -> None:
    said = sentences(findings(load(full_store, make_grid())), "What does the top level buy?")
    assert len(said) == 4  # depths 2 and 3, two losses
    assert said[1].startswith("Level 3 of 3 (depth 3, BCE, mean over latent 2, 20) buys 0.2")


def test_a_factor_that_does_not_vary_raises_no_question(full_store: Store, make_grid: Grid) -> None:
    found = findings(load(full_store, make_grid((2,), ("bce",), (20,))))
    assert [f.question for f in found] == [
        "What does the top level buy?",
        "Is the KL that the documented loss charges that of the joint posterior?",
        "How sure is a number?",
    ]


def test_an_interaction_is_named_where_there_is_one(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (2, 20), 4)
    for config in configs:
        seed, depth, latent = config.train.seed, config.model.num_layers, config.model.latent_dim
        nll = 100.0 + seed + 0.01 * seed * depth + (3.0 if (depth, latent) == (2, 20) else 0.0)
        store.write(make_record(config, metrics={"nll_nats": nll + 0.001 * seed * latent * depth}))
    question = "Does the effect of depth depend on the latent size?"
    (said,) = sentences(findings(load(store, configs)), question)
    assert said.startswith("The step depth 1 → 2 changes the NLL by 3.0")
    assert "higher at latent 20 than at latent 2" in said


def test_without_a_finished_run_there_is_one_plain_sentence(store: Store, make_grid: Grid) -> None:
    (only,) = findings(load(store, make_grid()))
    assert only.sentences == ("Nothing yet: no run of this study has finished.",)
