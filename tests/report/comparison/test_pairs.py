"""Which record of B stands beside which of A."""

from pathlib import Path

import pytest
from two_sides import RUNS, stored

from hvae.settings import digest, override
from report.comparison.pairs import paired_folders, pairing


def test_runs_pair_by_digest_in_the_order_of_cells_and_seeds(tmp_path: Path) -> None:
    found = pairing(stored(tmp_path / "a"), stored(tmp_path / "b", runs=RUNS[::-1]))
    assert [pair.a.digest for pair in found.pairs] == [pair.b.digest for pair in found.pairs]
    order = [(pair.a.run.model.num_layers, pair.a.run.train.seed) for pair in found.pairs]
    assert order == [(depth, seed) for depth in (1, 2) for seed in (0, 1, 2)]
    assert (found.differing, found.changes, found.alone) == ({}, [], ((), ()))


def test_values_without_an_order_come_by_name_whatever_the_digests(tmp_path: Path) -> None:
    runs = [override(run, {"loss": loss}) for run in RUNS for loss in ("mse", "bce", "gaussian")]
    found = pairing(stored(tmp_path / "a", runs=runs), stored(tmp_path / "b", runs=runs))
    assert {f.name: f.values for f in found.factors}["loss"] == ("bce", "gaussian", "mse")


def test_without_a_common_digest_runs_pair_by_all_but_a_setting_constant_on_each_side(
    tmp_path: Path,
) -> None:
    other = [override(run, {"train.kl_weight": 0.5, "depth": 2}) for run in RUNS[3:]]
    found = pairing(stored(tmp_path / "a"), stored(tmp_path / "b", runs=other))
    assert found.differing == {"train.kl_weight": (1.0, 0.5)}  # not the depth, which A sweeps
    assert found.changes == ["KL weight 1 → KL weight 0.5"]
    assert [pair.a.run for pair in found.pairs] == list(RUNS[3:])
    assert [pair.b.run for pair in found.pairs] == other
    assert set(found.alone[0]) == set(RUNS[:3])


def test_data_bring_their_number_of_pixels_which_is_no_change_of_its_own(tmp_path: Path) -> None:
    other = [override(run, {"data.name": "mnist"}) for run in RUNS]
    found = pairing(stored(tmp_path / "a"), stored(tmp_path / "b", runs=other))
    assert set(found.differing) == {"data.name", "model.input_dim"}
    assert found.changes == ["digits → MNIST"]


def test_a_run_of_one_side_only_is_alone(tmp_path: Path) -> None:
    found = pairing(stored(tmp_path / "a", runs=RUNS[:4]), stored(tmp_path / "b", runs=RUNS[1:]))
    assert [set(runs) for runs in found.alone] == [{RUNS[0]}, set(RUNS[4:])]
    assert len(found.pairs) == 3


def test_other_seeds_never_pair(tmp_path: Path) -> None:
    other = [override(run, {"seed": 7}) for run in RUNS[:1]]
    a, b = stored(tmp_path / "a", runs=RUNS[:1]), stored(tmp_path / "b", runs=other)
    with pytest.raises(ValueError, match=r"B: none of 1 runs in .* pairs with one of 1"):
        pairing(a, b)


def test_of_two_results_folders_the_studies_of_both_are_paired(tmp_path: Path) -> None:
    for name in ("a/first", "a/second", "b/second", "b/third"):
        stored(tmp_path / name, runs=RUNS[:1])
    pairings, others = paired_folders(tmp_path / "a", tmp_path / "b")
    assert [one.name for one in pairings] == ["second"]
    assert others == ["first", "third"]


def test_folders_that_hold_no_study_or_other_ones_are_refused(tmp_path: Path) -> None:
    store = stored(tmp_path / "a" / "first", runs=RUNS[:1])
    stored(tmp_path / "b" / "third", runs=RUNS[:1])
    for a, b, message in (
        (tmp_path / "none", store.folder, "A: .*none holds no records; allowed: "),
        (store.folder, tmp_path, "B: .* holds no records; allowed: "),
        (store.folder, tmp_path / "b", "B: .*b holds third; allowed: .* holds: one study"),
        (tmp_path / "a", tmp_path / "b", "B: .*b holds third; allowed: .* holds: first"),
    ):
        with pytest.raises(ValueError, match=message):
            paired_folders(a, b)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    a, b = stored(tmp_path / "a"), stored(tmp_path / "b")
    b.path(digest(RUNS[0])).write_text("{")
    with pytest.raises(ValueError, match=f"{digest(RUNS[0])}.json: not a whole record"):
        pairing(a, b)
