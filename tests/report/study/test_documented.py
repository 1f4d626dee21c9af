"""What the documented loss charges and costs, against closed forms on synthetic records."""

import math
from collections.abc import Callable

import pytest

from hvae.config import RunConfig
from hvae.records.store import Record, Store
from report.data.frames import load
from report.study.documented import charge_finding, charged, cost_finding, objective_cost

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def write_loss(store: Store, make_record: Make, configs: list[RunConfig]) -> None:
    """R = 50 nats, joint KL 7, closed form 7 + (0.5 + 0.01·seed) for each level beyond the first.

    With MSE, 64 pixels: Σ (x − x̂)² = 2·50 − 64·log 2π.
    """
    for config in configs:
        is_bce = config.train.loss == "bce"
        error = 50.0 if is_bce else 100.0 - 64 * math.log(2 * math.pi)
        closed = 7.0 + (config.model.num_layers - 1) * (0.5 + 0.01 * config.train.seed)
        metrics = {"reconstruction_nats": 50.0, "rate_nats": 7.0}
        store.write(make_record(config, metrics={**metrics, "loss_documented": error + 2 * closed}))


def write_nll(store: Store, make_record: Make, configs: list[RunConfig]) -> None:
    """The documented objective costs 2 + 0.1·seed nats at depth 1, one more at depth 2."""
    for config in configs:
        seed, is_documented = config.train.seed, config.train.objective == "documented"
        cost = 1.0 + config.model.num_layers + 0.1 * seed if is_documented else 0.0
        store.write(make_record(config, metrics={"nll_nats": 100.0 + seed + cost}))


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_the_closed_form_is_read_back_from_the_loss(
    store: Store, make_grid: Grid, make_record: Make, loss: str
) -> None:
    configs = make_grid((1, 3), (loss,), (20,), 2)
    write_loss(store, make_record, configs)
    runs = charged(load(store, configs)).sort_values(["depth", "seed"])
    assert runs["closed_form_nats"].tolist() == pytest.approx([7.0, 7.0, 8.0, 8.02])
    assert runs["excess_nats"].tolist() == pytest.approx([0.0, 0.0, 1.0, 1.02], abs=1e-12)


def test_the_excess_is_stated_per_depth_with_its_interval(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2, 3), ("bce",), (2, 20), 5)
    write_loss(store, make_record, configs)
    found = charge_finding(load(store, configs))
    assert found is not None
    # Seeds 0.50 … 0.54: mean 0.52, sd 0.0158, t(0.975, 4) · sd / √5 = 0.0196; depth 3 twice that.
    assert found.sentences == (
        "The documented loss charges 0.520 ± 0.020 nats more KL than the joint posterior has at "
        "depth 2, BCE, mean over latent 2, 20 (n = 5, Holm p < 0.001).",
        "The documented loss charges 1.040 ± 0.039 nats more KL than the joint posterior has at "
        "depth 3, BCE, mean over latent 2, 20 (n = 5, Holm p < 0.001).",
    )


def test_an_excess_that_seeds_disagree_on_is_not_claimed(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((2,), ("bce",), (20,), 3)
    for config in configs:
        loss = 50.0 + 2 * (7.0 + 0.1 * (config.train.seed - 1))
        metrics = {"reconstruction_nats": 50.0, "rate_nats": 7.0, "loss_documented": loss}
        store.write(make_record(config, metrics=metrics))
    found = charge_finding(load(store, configs))
    assert found is not None
    (said,) = found.sentences
    assert said.startswith("At depth 2, BCE, latent 20: no gap between the KL charged and that of")
    assert "nats are not reliably detectable here." in said


def test_a_gap_that_shared_noise_can_fake_is_not_claimed(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((2,), ("bce",), (20,), 3)
    for config in configs:  # the rate is 0.02 too low on every seed: −ELBO − R is 7
        joint = 6.98 + 1e-4 * config.train.seed
        metrics = {"reconstruction_nats": 50.0, "rate_nats": joint, "elbo_nats": -57.0}
        store.write(make_record(config, metrics={**metrics, "loss_documented": 64.0}))
    study = load(store, configs)
    assert charged(study)["noise_nats"].to_numpy() == pytest.approx([0.02] * 3, abs=3e-4)
    found = charge_finding(study)
    assert found is not None
    (said,) = found.sentences
    assert "no gap between the KL charged and that of the joint posterior established" in said
    assert said.endswith(
        "gaps under 0.040 nats are not reliably detectable here, "
        "the Monte-Carlo noise that all seeds share included."
    )


def test_the_cost_is_documented_minus_elbo_paired_by_seed(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 3, ("documented", "elbo"))
    write_nll(store, make_record, configs)
    study = load(store, configs)
    table = objective_cost(study, "nll_nats")
    assert table["difference"].tolist() == pytest.approx([2.1, 3.1])
    assert table["n"].tolist() == [3, 3]
    assert table["lower"].tolist() == pytest.approx([2.1 - 0.24841, 3.1 - 0.24841], abs=1e-5)
    assert table["upper"].tolist() == pytest.approx([2.1 + 0.24841, 3.1 + 0.24841], abs=1e-5)
    found = cost_finding(study)
    assert found is not None
    assert found.sentences[1].startswith(
        "Training with the documented objective costs 3.10 ± 0.25 nats of NLL against the ELBO "
        "objective at depth 2, BCE, latent 20 (n = 3, Holm p "
    )


def test_a_third_objective_does_not_enter_the_cost(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1,), ("bce",), (20,), 3, ("documented", "elbo", "iwae"))
    write_nll(store, make_record, configs)
    assert objective_cost(load(store, configs), "nll_nats")["difference"].tolist() == [
        pytest.approx(2.1)
    ]


def test_without_the_data_nothing_is_found(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((2,), ("bce",), (20,), 3)
    for config in configs:
        store.write(make_record(config, metrics={"rate_nats": 7.0, "nll_nats": 100.0}))
    study = load(store, configs)
    assert charged(study).empty
    assert objective_cost(study, "nll_nats").empty
    assert charge_finding(study) is None
    assert cost_finding(study) is None


def test_unpaired_seeds_give_no_cost(store: Store, make_grid: Grid, make_record: Make) -> None:
    configs = make_grid((1,), ("bce",), (20,), 2, ("documented", "elbo"))
    kept = [c for c in configs if (c.train.objective == "elbo") == (c.train.seed == 0)]
    write_nll(store, make_record, kept)
    assert objective_cost(load(store, configs), "nll_nats").empty
