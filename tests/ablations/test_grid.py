from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from ablations.grid import Pack, cost, label, pack_size, packs, runs
from ablations.studies import PRESETS, Study, load, narrow
from hvae.config import DATASETS, RunConfig, TrainConfig, digest
from hvae.data.images import load_grey

QUICK = load("quick")
SIZES = (1, 3, 8, 10, 200)


def digests(study: Study) -> set[str]:
    return {digest(run) for run in runs(study)}


def cut(study: Study, size: int, missing: set[str] | None = None) -> list[Pack]:
    wanted = digests(study) if missing is None else missing
    return packs(study.name, runs(study), wanted, size)


def chunk_of(study: Study, size: int) -> dict[RunConfig, Pack]:
    return {run: pack for pack in cut(study, size) for run in pack.runs}


@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_every_run_is_there_once_and_seed_major(study: Study) -> None:
    grid = runs(study)
    assert len(digests(study)) == len(grid)
    seeds = [run.train.seed for run in grid]
    assert seeds == sorted(seeds)
    assert set(seeds) == set(range(study.seeds))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_packs_hold_every_run_once_and_no_more_than_their_size(study: Study, size: int) -> None:
    found = [run for pack in cut(study, size) for run in pack.runs]
    assert sorted(map(digest, found)) == sorted(digests(study))
    assert max(len(pack.runs) for pack in cut(study, size)) <= size


@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_a_pack_shares_what_it_must(study: Study) -> None:
    for pack in cut(study, 200):
        assert len({(r.model.num_layers, r.train.objective) for r in pack.runs}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 9},
        {"batch_size": 9},
        {"kl_warmup_epochs": 9},
        {"objective": "elbo"},
        {"objective": "iwae", "importance_samples": 2},
    ],
)
def test_what_may_not_share_a_pack_does_not(change: dict[str, object]) -> None:
    run = RunConfig()
    other = replace(run, train=replace(run.train, **change))  # type: ignore[arg-type]
    assert len(packs("s", [run, other], {digest(run), digest(other)}, 10)) == 2


@pytest.mark.parametrize(
    "change",
    [{"seed": 9}, {"loss": "mse"}, {"learning_rate": 9.0}, {"kl_weight": 9.0}, {"free_bits": 9.0}],
)
def test_what_may_share_a_pack_does(change: dict[str, object]) -> None:
    run = RunConfig()
    other = replace(
        run,
        model=replace(run.model, latent_dim=9),
        train=replace(run.train, **change),  # type: ignore[arg-type]
    )
    assert len(packs("s", [run, other], {digest(run), digest(other)}, 10)) == 1


@pytest.mark.parametrize("section", ["hidden_dim", "data", "binarize", "evaluation"])
def test_other_models_data_or_evaluations_are_other_packs(section: str) -> None:
    run = RunConfig()
    other = {
        "hidden_dim": replace(run, model=replace(run.model, hidden_dim=9)),
        "data": replace(run, data=replace(run.data, name="kmnist")),
        "binarize": replace(run, data=replace(run.data, binarize="static")),
        "evaluation": replace(run, evaluation=replace(run.evaluation, importance_samples=9)),
    }[section]
    assert len(packs("s", [run, other], {digest(run), digest(other)}, 10)) == 2


@pytest.mark.parametrize("size", SIZES)
def test_a_resumed_grid_trains_parts_of_the_same_packs(size: int) -> None:
    whole = chunk_of(QUICK, size)
    missing = set(Random(0).sample(sorted(digests(QUICK)), 11))
    left = cut(QUICK, size, missing)
    assert {digest(run) for pack in left for run in pack.runs} == missing
    for pack in left:
        (origin,) = {whole[run] for run in pack.runs}
        assert pack.runs == tuple(r for r in origin.runs if digest(r) in missing)


@pytest.mark.parametrize("size", SIZES)
def test_more_seeds_move_no_run_to_another_pack(size: int) -> None:
    grown = chunk_of(narrow(QUICK, seeds=5), size)
    for pack in cut(QUICK, size):
        (new,) = {grown[run] for run in pack.runs}
        assert new.runs[: len(pack.runs)] == pack.runs


def test_members_are_seed_major_then_by_loss_then_by_latent_size() -> None:
    study = replace(narrow(QUICK, depths=(1,)), losses=("mse", "bce"), latents=(20, 2))
    (pack,) = cut(study, 10)
    found = [(r.train.seed, r.train.loss, r.model.latent_dim) for r in pack.runs]
    assert found == sorted(found)


def test_the_longest_pack_is_first() -> None:
    costs = [pack.cost for pack in cut(load("standard"), 7)]
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


def test_labels_name_what_tells_runs_and_packs_apart() -> None:
    assert label(RunConfig()) == "depth 2, bce, documented, latent 20, seed 0"
    assert {pack.label for pack in cut(QUICK, 8)} == {
        f"depth {depth}, documented, 8 runs" for depth in range(1, 5)
    }
    assert Pack("s", (RunConfig(),)).label == "depth 2, documented, 1 run"


@pytest.mark.parametrize(
    ("device", "all_runs", "workers", "size"),
    [("cpu", 200, 2, 10), ("cpu", 8, 2, 4), ("cpu", 3, 16, 1), ("cuda", 200, 1, 200)],
)
def test_a_pack_is_as_large_as_the_device_takes_and_leaves_no_worker_without_one(
    device: str, all_runs: int, workers: int, size: int
) -> None:
    assert pack_size(device, all_runs, workers) == size
