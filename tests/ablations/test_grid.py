import math
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ablations import prediction
from ablations.grid import (
    BASE_BYTES,
    EVALUATION_BYTES,
    Pack,
    Packing,
    cost,
    design,
    evaluation_cost,
    halves,
    labels,
    memory,
    packing,
    packs,
    runs,
    variant_of,
    without,
)
from ablations.presets import PRESETS
from ablations.studies import Study, Variant, narrow
from hvae.closed_form import parameter_count, weight_count
from hvae.config import ModelConfig, RunConfig, TrainConfig
from hvae.data.images import load_grey
from hvae.datasets import DATASETS
from hvae.native.bindings import uncompiled
from hvae.settings import digest, override

QUICK = narrow(PRESETS["quick"], seeds=2)
SIZES = (1, 3, 8, 10, 200)


def digests(study: Study) -> set[str]:
    return {digest(run) for run in runs(study)}


def cut(study: Study, size: int, missing: set[str] | None = None) -> list[Pack]:
    wanted = digests(study) if missing is None else missing
    return packs(study.name, runs(study), wanted, Packing(size))


def chunk_of(study: Study, size: int) -> dict[RunConfig, Pack]:
    return {run: pack for pack in cut(study, size) for run in pack.runs}


@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_every_run_is_there_once_and_seed_major(study: Study) -> None:
    grid = runs(study)
    assert len(digests(study)) == len(grid)
    seeds = [run.train.seed for run in grid]
    assert seeds == sorted(seeds)
    assert set(seeds) == set(range(study.seeds))


def test_no_run_of_one_engine_takes_another_into_its_pack() -> None:
    """Else seeds of one cell would be trained by different engines, as the packs are cut."""
    losses = {"loss": ["bce", "mse", "gaussian"], "depth": [2], "latent": [20]}
    study = Study("s", axes=losses, settings={"train.epochs": 30}, seeds=4)
    for pack in packs("s", runs(study), set(map(digest, runs(study))), Packing(10, most_cost=1e13)):
        assert {bool(uncompiled(run)) for run in pack.runs} == {pack.is_traced}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_packs_hold_every_run_once_and_no_more_than_their_size(study: Study, size: int) -> None:
    packs = cut(study, size)
    found = [run for pack in packs for run in pack.runs]
    assert sorted(map(digest, found)) == sorted(digests(study))
    assert max(len(pack.runs) for pack in packs) <= size


@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_a_pack_shares_what_it_must(study: Study) -> None:
    for pack in cut(study, 200):
        assert len({(r.model.num_layers, r.train.objective) for r in pack.runs}) == 1


@pytest.mark.parametrize(
    ("change", "count"),
    [
        *(({name: 9}, 1) for name in ("seed", "latent", "train.kl_weight", "train.free_bits")),
        ({"train.learning_rate": 9.0, "loss": "mse"}, 1),
        *(({f"train.{name}": 9}, 2) for name in ("epochs", "batch_size", "kl_warmup_epochs")),
        *(({name: 9}, 2) for name in ("model.hidden_dim", "evaluation.importance_samples")),
        ({"depth": 9}, 2),
        ({"objective": "elbo"}, 2),
        ({"data.name": "kmnist"}, 2),
        ({"data.binarize": "static"}, 2),
        ({"objective": "iwae", "train.importance_samples": 2}, 2),
    ],
    ids=str,
)
def test_runs_share_a_pack_where_they_may(change: dict[str, Any], count: int) -> None:
    run, other = RunConfig(), override(RunConfig(), change)
    assert len(packs("s", [run, other], {digest(run), digest(other)}, Packing(10))) == count


@pytest.mark.parametrize("size", SIZES)
def test_a_resumed_grid_trains_parts_of_the_same_packs(size: int) -> None:
    whole = chunk_of(QUICK, size)
    missing = set(Random(0).sample(sorted(digests(QUICK)), 11))
    left = cut(QUICK, size, missing)
    assert {digest(run) for pack in left for run in pack.runs} == missing
    for pack in left:
        (origin,) = {whole[run] for run in pack.runs}
        assert pack.runs == tuple(r for r in origin.runs if digest(r) in missing)
        assert pack.members == origin.runs  # in their order, should the engine need them all


def test_what_a_resumed_pack_costs_depends_on_the_engine() -> None:
    """The traced one trains also the members that are recorded."""
    asked = [override(RunConfig(), {"seed": seed}) for seed in range(4)]
    missing = {digest(asked[0])}
    (compiled,) = packs("s", asked, missing, Packing(10))
    (traced,) = packs("s", asked, missing, Packing(10, is_traced=True))
    assert (compiled.runs, traced.runs) == ((asked[0],), (asked[0],))
    assert traced.cost == 4 * compiled.cost
    assert memory(traced) > memory(compiled)
    assert prediction.Prediction(1.0, 0.0).seconds(traced) > 4.0
    assert 1.0 < prediction.Prediction(1.0, 0.0).seconds(compiled) < 4.0
    others = [override(run, {"loss": "gaussian"}) for run in asked]
    (declined,) = packs("s", others, {digest(others[0])}, Packing(10))
    assert declined.trained == tuple(others)  # by step.c, on any machine


@pytest.mark.parametrize(
    ("changes", "draws"),
    [
        # 10,000 · 25 + 400 · 1000 by the proposal + 2.6 · (2 · 400 + 100) · 1000
        ({}, 2_990_000),
        ({"data.binarize": "dynamic"}, 1_950_000),  # one likelihood
        ({"data.binarize": "dynamic", "loss": "mse"}, 2_990_000),
        ({"evaluation.nll_images": 20_000}, 62_510_000),  # no more than there are
        ({"evaluation.importance_samples": 10}, 127_400),
    ],
    ids=str,
)
def test_an_evaluation_costs_its_draws_through_all_layers_but_the_first(
    changes: dict[str, Any], draws: int
) -> None:
    found = evaluation_cost(override(RunConfig(), changes))
    assert found == pytest.approx(draws * 2 * 94_400)


def test_the_memory_of_a_training_is_that_of_all_that_it_holds() -> None:
    settings = {"objective": "iwae", "train.importance_samples": 50, "train.batch_size": 1000}
    swept = [{"seed": seed, "depth": depth} for seed in (0, 1) for depth in (1, 2)]
    held = tuple(override(RunConfig(), {"data.name": "digits", **settings, **o}) for o in swept)
    state = 4 * 4 * sum(parameter_count(run.model) for run in held)  # float32, as all of it
    activations = 4 * 10 * 4 * 1000 * 50 * 64
    noise = 2 * 2 * 4 * 1437 * 50 * (2 * 20)
    images = (1 + 2) * 1437 * 64
    assert memory(Pack("s", held)) == BASE_BYTES + state + activations + noise + images


def test_the_memory_of_an_evaluation_is_that_of_draws_and_posteriors() -> None:
    draws, posteriors = 2 * 4 * 1000 * 100 * (2 * 20), 3 * 4 * 60_000 * (2 * 20)
    expected = BASE_BYTES + EVALUATION_BYTES + draws + posteriors
    assert memory(Pack("s", (RunConfig(),))) == expected


@pytest.mark.parametrize("size", SIZES)
def test_more_seeds_move_no_run_to_another_pack(size: int) -> None:
    grown = chunk_of(narrow(QUICK, seeds=5), size)
    for pack in cut(QUICK, size):
        (new,) = {grown[run] for run in pack.runs}
        assert new.runs[: len(pack.runs)] == pack.runs


def test_members_are_seed_major_then_by_loss_then_by_latent_size() -> None:
    study = narrow(QUICK, {"depth": (1,), "loss": ("mse", "bce"), "latent": (20, 2)})
    (pack,) = cut(study, 10)
    found = [(r.train.seed, r.train.loss, r.model.latent_dim) for r in pack.runs]
    assert found == sorted(found)


def test_the_longest_pack_is_first() -> None:
    costs = [pack.cost for pack in cut(PRESETS["standard"], 7)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_nothing_missing_is_no_pack() -> None:
    assert cut(QUICK, 10, set()) == []


def test_the_documented_training_costs_56_mflop_a_batch() -> None:
    mflop_per_batch = cost(RunConfig()) / (30 * 60_000) * 64 / 1e6
    assert mflop_per_batch == pytest.approx(22.1 + 22.1 + 12.1, abs=0.1)  # rounded parts


def test_cost_is_proportional_to_epochs() -> None:
    twice = replace(RunConfig(), train=TrainConfig(epochs=60))
    assert cost(twice) == 2 * cost(RunConfig())


def test_the_digits_have_the_images_that_the_table_says() -> None:
    grey, known = load_grey("digits", Path()), DATASETS["digits"]
    assert (len(grey.train), len(grey.test)) == (known.training_images, known.test_images)
    assert grey.train.shape[1] == known.pixels


VARIANTS = Study(
    "s",
    "What for?",
    axes={"train.kl_weight": (0.5, 1), "data.name": ("digits", "mnist")},
    variants=(
        Variant("documented"),
        Variant("ELBO, deeper", {"objective": "elbo", "depth": 3, "latent": 5}),
    ),
    seeds=2,
)


def test_a_run_is_labelled_by_its_variant_what_axes_say_and_its_seed() -> None:
    words = labels(VARIANTS)
    assert len(words) == 16 == len(set(words.values()))
    last = runs(VARIANTS)[-1]
    assert words[digest(last)] == "ELBO, deeper, KL weight 1, MNIST, seed 1"
    assert words[digest(runs(VARIANTS)[0])] == "documented, KL weight 0.5, digits, seed 0"
    assert list(labels(Study("s")).values()) == ["seed 0"]


def test_a_pack_is_labelled_by_what_its_members_share_and_others_do_not() -> None:
    assert {pack.label for pack in cut(VARIANTS, 10)} == {
        f"{words}, 4 runs"
        for words in (
            *("depth 2, documented, digits", "depth 2, documented, MNIST"),
            *("depth 3, ELBO, digits", "depth 3, ELBO, MNIST"),
        )
    }
    assert [half.label for half in halves(cut(QUICK, 7)[0])] == [
        "depth 4, 4 runs",
        "depth 4, 3 runs",
    ]
    assert Pack("s", (RunConfig(),)).label == "1 run"


def test_a_pack_is_labelled_by_its_variant_where_it_has_one() -> None:
    study = PRESETS["literature"]
    asked, wanted = runs(study), {digest(run) for run in runs(study)}
    named = {pack.label for pack in packs("s", asked, wanted, Packing(10), variant_of(study))}
    assert "2 levels, IWAE 50, epochs 10, 1 run" in named
    assert len(named) == len(study.cells)
    weights = {f"β = {beta}": {"train.kl_weight": beta / 2} for beta in (1, 2)}  # share a pack
    mixed = Study("s", variants=tuple(Variant(*given) for given in weights.items()), seeds=1)
    (pack,) = packs("s", runs(mixed), set(map(digest, runs(mixed))), Packing(10), variant_of(mixed))
    assert pack.label == "2 runs"


@pytest.mark.parametrize(("samples", "sizes"), [(1, [2, 2]), (50, [1, 1, 1, 1])])
def test_a_traced_run_of_large_steps_is_alone_in_its_pack(samples: int, sizes: list[int]) -> None:
    settings = {"objective": "iwae", "train.importance_samples": samples, "train.epochs": 30}
    asked = [override(RunConfig(), {**settings, "seed": seed}) for seed in range(4)]
    cut = packs("s", asked, set(map(digest, asked)), Packing(10, most_cost=1.0))
    assert [len(pack.runs) for pack in cut] == sizes


def test_halves_of_a_pack_train_nothing_that_is_recorded() -> None:
    pack = cut(QUICK, 7)[0]
    for half in halves(without(pack, {digest(pack.runs[0])})):
        assert half.members == half.runs


def test_a_design_says_which_run_is_of_which_variant() -> None:
    asked = design(VARIANTS)
    assert (asked.name, asked.question) == ("s", "What for?")
    assert asked.runs == tuple(runs(VARIANTS))
    assert asked.axes == ("train.kl_weight", "data.name")
    assert tuple(dict.fromkeys(asked.variant_of)) == ("documented", "ELBO, deeper")
    for run, variant in zip(asked.runs, asked.variant_of, strict=True):
        assert variant == ("documented" if run.train.objective == "documented" else "ELBO, deeper")
    assert design(QUICK).variant_of == ()


def test_a_prediction_takes_no_longer_for_a_deep_model() -> None:
    shallow, deep = (weight_count(ModelConfig(num_layers=depth)) for depth in (1, 10**12))
    assert deep - shallow == (10**12 - 1) * (2 * 20 * 100 + 3 * 100 * 20)


@pytest.mark.parametrize(
    ("device", "all_runs", "workers", "size"),
    [("cpu", 200, 2, 10), ("cpu", 8, 2, 4), ("cpu", 3, 16, 1), ("cuda", 200, 1, 200)],
)
def test_a_pack_is_as_large_as_the_device_takes_and_leaves_no_worker_without_one(
    device: str, all_runs: int, workers: int, size: int
) -> None:
    assert packing(device, all_runs, workers).size == size


@pytest.mark.parametrize(("compiler", "fewest"), [(["cc"], 1), (None, 2)])
def test_a_pack_of_a_cpu_is_short_unless_it_is_of_the_fewest_runs(
    compiler: list[str] | None, fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice of a minute records something, where a C compiler makes that possible."""
    monkeypatch.setattr("ablations.grid.c_compiler", lambda: compiler)
    study = PRESETS["standard"]
    chosen = packing("cpu", len(runs(study)), 2)
    cut = packs("s", runs(study), digests(study), chosen)
    assert {len(pack.runs) for pack in cut} == {fewest}
    assert all(len(pack.runs) == fewest or pack.cost <= chosen.most_cost for pack in cut)
    assert 2 * min(pack.cost for pack in cut) / fewest > chosen.most_cost
    quick = packs("s", runs(QUICK), digests(QUICK), chosen)
    assert max(len(pack.runs) for pack in quick) == 8  # bundled digits: a second each
    longer = chosen._replace(most_cost=4.5 * max(map(cost, runs(study))))
    between = packs("s", runs(study), digests(study), longer)
    assert {len(pack.runs) for pack in between if pack.runs[0].model.num_layers == 4} == {2, 4}
    one = chosen._replace(size=1)
    assert len(packs("s", runs(QUICK), digests(QUICK), one)) == len(runs(QUICK))


def test_a_gpu_trains_all_depths_of_a_study_in_one_pack() -> None:
    study = PRESETS["standard"]
    (pack,) = packs("s", runs(study), digests(study), packing("cuda", 200, 1))
    assert {run.model.num_layers for run in pack.runs} == {1, 2, 3, 4}
    assert packing("cuda", 200, 1).most_cost == math.inf
