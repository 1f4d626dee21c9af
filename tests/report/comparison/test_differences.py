"""What paired records differ in, in closed form."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import record
from two_sides import RUNS, Change, elsewhere, shifted, stored

from hvae.records.store import Record, Store
from hvae.settings import digest, override
from report.comparison.differences import TIMED, Comparison, compared
from report.comparison.pairs import pairing
from report.data.metrics import METRICS

NLL, ELBO = METRICS["nll_nats"], METRICS["elbo_nats"]


def of(tmp_path: Path, change: Change | None, **given: Any) -> Comparison:
    """The records as the builders make them, against changed ones."""
    a = stored(tmp_path / "a", **given)
    return compared(pairing(a, stored(tmp_path / "b", change, **given)))


def test_a_constant_is_found_exactly_with_an_interval_of_no_width(tmp_path: Path) -> None:
    found = of(tmp_path, shifted(nll_nats=0.25, elbo_nats=-0.5))
    for metric, constant in ((NLL, 0.25), (ELBO, -0.5), (METRICS["rate_nats"], 0.0)):
        for contrast in found.families[metric]:
            known = contrast.estimate
            assert known.n == 3
            assert known.mean == pytest.approx(constant, abs=1e-14)
            assert known.half_width == pytest.approx(0, abs=1e-13)
            assert contrast.is_clear == (constant != 0)
    assert found.identical == 0
    assert next(iter(found.families)) == NLL


def test_differences_that_scatter_have_the_t_interval_of_their_seeds(tmp_path: Path) -> None:
    steps = (0.0, 1.0, 2.0)
    found = of(tmp_path, lambda made: shifted(nll_nats=steps[made.run.train.seed])(made))
    p = 2 * (0.5 - math.sqrt(3) / (2 * math.sqrt(2 + 3)))  # of t = √3, two degrees of freedom
    for contrast in found.families[NLL]:
        assert contrast.estimate.mean == pytest.approx(1)
        assert contrast.estimate.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
        assert contrast.holm_p == pytest.approx(2 * p)  # of two cells


def test_equal_metrics_are_identical_and_one_last_bit_is_not(tmp_path: Path) -> None:
    def nudged(made: Record) -> dict[str, Any]:
        name = "psnr_db"  # in none of the tables
        value = math.nextafter(made.metrics[name], math.inf)
        return {"metrics": made.metrics | {name: value} if made.run == RUNS[0] else made.metrics}

    assert of(tmp_path / "same", None).identical == 6
    assert of(tmp_path / "nudged", nudged).identical == 5


def test_a_metric_of_one_side_only_leaves_the_others_identical(tmp_path: Path) -> None:
    found = of(tmp_path, lambda made: {"metrics": made.metrics | {"new_nats": 1.0}})
    assert found.identical == 6


def test_records_without_a_metric_in_common_are_not_identical(tmp_path: Path) -> None:
    found = of(tmp_path, lambda made: {"metrics": {"new_nats": 1.0}})
    assert found.identical == 0
    assert not found.families


def test_images_of_ones_own_are_one_cell_wherever_they_lay(tmp_path: Path) -> None:
    own = {"name": "shapes", "sha256": "e" * 64, "sizes": (9, 9, 8, 8)}
    stores = [Store(tmp_path / side) for side in "ab"]
    for store, gain in zip(stores, (0.0, 0.25), strict=True):
        store.open_for_writing()
        for seed, path in enumerate(("shapes.npz", "shapes.npz", "../shapes.npz")):
            run = override(
                RUNS[0],
                {"seed": seed, "data.path": path}
                | {f"data.{name}": held for name, held in own.items()},
            )
            store.write(record(run, metrics=record(run).metrics | {"nll_nats": 90.0 - gain}))
    found = compared(pairing(*stores))
    (contrast,) = found.families[NLL]
    assert contrast.estimate.n == 3


def test_active_units_are_those_of_all_levels(tmp_path: Path) -> None:
    def more(made: Record) -> dict[str, Any]:
        active = [count + 2 for count in made.metrics["active_units_per_level"]]
        return {"metrics": made.metrics | {"active_units_per_level": active}}

    found = of(tmp_path, more)
    (family,) = (f for metric, f in found.families.items() if metric.name == "active_units")
    assert [contrast.estimate.mean for contrast in family] == [2.0, 4.0]  # depth 1, 2


def test_one_seed_has_a_difference_without_an_interval(tmp_path: Path) -> None:
    found = of(tmp_path, shifted(nll_nats=0.5), runs=[run for run in RUNS if not run.train.seed])
    for contrast in found.families[NLL]:
        assert contrast.estimate.mean == pytest.approx(0.5)
        assert math.isnan(contrast.estimate.half_width)


def test_across_losses_only_the_common_yardstick_is_compared(tmp_path: Path) -> None:
    other = [override(run, {"loss": "mse"}) for run in RUNS]
    found = compared(pairing(stored(tmp_path / "a"), stored(tmp_path / "b", runs=other)))
    names = [metric.name for metric in found.families]
    assert names == ["scoreboard_nll_nats", "psnr_db", "active_units"]
    assert NLL in found.incomparable


def test_of_other_images_under_the_same_name_no_metric_is_compared(tmp_path: Path) -> None:
    found = of(tmp_path, lambda made: {"data_sha256": "0" * 64})
    assert not found.families
    assert NLL in found.incomparable
    assert found.identical == 6
    assert found.ratios


@pytest.mark.parametrize(("sha256", "is_compared"), [("ab" * 32, True), ("0" * 64, False)])
def test_images_of_another_name_are_compared_where_they_are_the_same(
    tmp_path: Path, sha256: str, is_compared: bool
) -> None:
    other = [override(run, {"data.name": "mnist"}) for run in RUNS]
    b = stored(tmp_path / "b", lambda made: {"data_sha256": sha256}, other)
    found = compared(pairing(stored(tmp_path / "a"), b))
    assert (NLL in found.families, NLL in found.incomparable) == (is_compared, not is_compared)


def test_seconds_and_throughput_are_ratios_with_quartiles_over_pairs(tmp_path: Path) -> None:
    def slower(made: Record) -> dict[str, Any]:
        factor = (1.0, 2.0, 3.0)[made.run.train.seed]
        measured = [
            m | {"images_per_second": m["images_per_second"] / 2}
            for m in made.throughput["measurements"]
        ]
        seconds = {"train": made.seconds["train"] * factor, "evaluate": 0.0}
        return {"seconds": seconds, "throughput": {"measurements": measured}}

    training, *rates = of(tmp_path, slower).ratios
    assert training.what == "training, seconds"
    assert training[1:] == pytest.approx((6, 1.25, 2.0, 2.75))
    assert len(rates) == 4
    tasks = {rate.what.split(", images/s on ")[0] for rate in rates}
    assert tasks == {"train", "train, plain module", "inference", "sampling"}
    assert all(rate[1:] == pytest.approx((6, 0.5, 0.5, 0.5)) for rate in rates)


def test_what_decides_the_seconds_is_told_apart_by_pair(tmp_path: Path) -> None:
    assert of(tmp_path / "same", None).differs(TIMED) == []
    changes = {"device_name": "B", "threads": 2, "engine": "traced", "pack_size": 9, "python": "4"}
    found = of(tmp_path / "other", elsewhere(**changes)).differs(TIMED)
    assert {(fact.name, fact.b, fact.differing) for fact in found} == {
        (name, str(held), 6) for name, held in changes.items() if name != "python"
    }


def test_what_diverged_on_a_side_is_left_out_of_the_means(tmp_path: Path) -> None:
    def lost(made: Record) -> dict[str, Any]:
        return {"status": "diverged" if made.run == RUNS[0] else "finished"}

    found = of(tmp_path, lost)
    assert [contrast.estimate.n for contrast in found.families[NLL]] == [2, 3]
    assert (found.without, found.identical) == (1, 5)


def test_the_error_over_test_images_is_of_the_differences_by_image(tmp_path: Path) -> None:
    a, b = (stored(tmp_path / name, runs=RUNS[:2]) for name in "ab")
    values = np.array([1.0, 2.0, 4.0, 1.0])
    for store, by in ((a, values), (b, values + np.array([0, 1, 0, 1]))):
        for name in store.finished():
            np.savez(store.arrays_path(name), nll_nats=by)
    found = compared(pairing(a, b))
    expected = np.std([0, 1, 0, 1], ddof=1) / 2
    assert found.families[NLL][0].test_set_error == pytest.approx(expected)
    assert math.isnan(found.families[ELBO][0].test_set_error)
    a.arrays_path(digest(RUNS[0])).unlink()
    assert math.isnan(compared(pairing(a, b)).families[NLL][0].test_set_error)


def test_numbers_that_are_none_are_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"[0-9a-f]{16}: not the numbers of a run"):
        of(tmp_path, lambda made: {"metrics": made.metrics | {"nll_nats": [1]}})
