"""The numbers beside the pictures of a reproduction, where they are known in closed form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from hvae.config import DataConfig, ModelConfig, RunConfig
from hvae.data.images import Images, load
from hvae.data.mnist import Bytes
from hvae.model.hierarchy import initial
from hvae.pictures import reproduction
from hvae.pictures.reproduction import (
    ARRAYS,
    FACTS,
    Measurements,
    every_other,
    is_current,
    manifold_facts,
    map_facts,
    measurements,
    neighbour_accuracy,
    pair_mse,
    sample_facts,
    train_probe,
    write,
)
from hvae.pictures.samples import manifold
from hvae.records.attachments import arrays_file, read_arrays

RUN = RunConfig(ModelConfig(64), data=DataConfig("digits"))
UNIT_KL = [0.1, 0.0, 0.7, float("nan"), 0.1, 1.2, *[0.0] * 14]  # most in the sixth and the third


@pytest.fixture(scope="module")
def digits() -> Images:
    return load(DataConfig("digits"), Path())


@pytest.fixture(scope="module")
def probe(digits: Images) -> Any:
    with threadpool_limits(1):  # as in a worker; a second thread on a busy machine costs seconds
        return train_probe(digits)


def real(digits: Images) -> Bytes:
    """64 test digits in place of samples."""
    drawn: Bytes = np.rint(digits.test[:64] / 16 * 255).astype(np.uint8)
    return drawn


def test_the_probe_finds_every_digit_among_real_ones_and_is_sure_of_them(
    digits: Images, probe: Any
) -> None:
    found = sample_facts(real(digits), probe, digits)
    assert found["digits_found"] == 10
    assert found["confidence"] > 0.8
    assert found["probe_test_accuracy"] > 0.95  # a linear one reaches 0.95
    expected = np.bincount(digits.test_labels[:64], minlength=10)
    assert np.abs(np.array(found["counts"]) - expected).sum() <= 8  # few unsure, few mistaken


def test_the_probe_is_not_sure_of_noise(digits: Images, probe: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    found = sample_facts(noise, probe, digits)
    assert found["confidence"] < 0.5
    assert sum(found["counts"]) < 16


def test_samples_of_one_digit_find_one_digit(digits: Images, probe: Any) -> None:
    zeros = digits.test[digits.test_labels == 0]
    found = sample_facts(np.rint(zeros / 16 * 255).astype(np.uint8), probe, digits)
    assert found["digits_found"] == 1
    assert found["counts"][0] == sum(found["counts"]) > 30


def test_the_probe_counts_a_digit_only_from_the_threshold_on(
    digits: Images, probe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction, "FOUND", 0.0)
    assert sum(sample_facts(real(digits), probe, digits)["counts"]) == 64
    monkeypatch.setattr(reproduction, "FOUND", 1.01)
    assert sample_facts(real(digits), probe, digits)["counts"] == [0] * 10


def test_the_vote_of_neighbours_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    points, labels = generator.normal(size=(200, 3)), generator.integers(0, 10, 200, dtype=np.uint8)
    points[:, 0] += labels
    right = [
        KNeighborsClassifier(5)
        .fit(np.delete(points, i, 0), np.delete(labels, i))
        .predict(points[i : i + 1])[0]
        == labels[i]
        for i in range(200)
    ]
    assert neighbour_accuracy(points, labels) == np.mean(right)


def test_a_map_that_is_the_latent_space_is_trustworthy_and_one_at_random_is_not() -> None:
    generator = np.random.default_rng(0)
    latents = generator.normal(size=(300, 2))
    labels = (latents[:, 0] > 0).astype(np.uint8)
    faithful = map_facts((3 * latents).astype(np.float32), latents, labels)
    assert faithful["trustworthiness"] > 0.999
    assert faithful["neighbour_accuracy"] == faithful["latent_neighbour_accuracy"] > 0.9
    random = map_facts(generator.permutation(latents).astype(np.float32), latents, labels)
    assert abs(random["trustworthiness"] - 0.5) < 0.1
    assert random["neighbour_accuracy"] < 0.7
    assert random["images"] == 300


def test_the_difference_of_two_random_images_is_the_mean_over_all_pairs() -> None:
    images = np.random.default_rng(0).random((7, 4))
    pairs = [np.mean((images[i] - images[j]) ** 2) for i in range(7) for j in range(7) if i != j]
    assert pair_mse(images) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_the_steps_of_a_manifold_are_those_along_rows_and_columns() -> None:
    """A grey ramp that climbs by 10 a column and by 20 a row."""
    ramp = 10 * np.arange(3)[None, :] + 20 * np.arange(3)[:, None]
    tiles = np.repeat(ramp[..., None], 4, axis=2).astype(np.uint8)
    test = np.array([[0.0] * 4, [1.0] * 4])
    found = manifold_facts(tiles, test)
    step = (10**2 + 20**2) / 2 / 255**2
    assert found["step_mse"] == pytest.approx(step, rel=1e-12)
    assert found["digit_mse"] == pytest.approx(1.0)
    assert found["smoothness"] == pytest.approx(1 - step)
    assert (found["steps"], found["extent"]) == (3, 3.0)


def test_a_manifold_that_never_changes_is_told_by_its_tiles(digits: Images) -> None:
    found = manifold_facts(np.full((3, 3, 64), 7, np.uint8), digits.test / 16)
    assert found["smoothness"] == 1.0
    assert found["tile_mse"] < 1e-30  # rounding of the mean


def test_images_of_the_map_are_spread_over_the_test_set() -> None:
    for count, expected in ((360, 360), (5000, 5000), (5001, 2501), (10_000, 5000)):
        assert len(range(count)[every_other(count)]) == expected


def test_the_same_model_gives_the_same_arrays_and_facts_in_the_agreed_format(
    few_digits: Images, tmp_path: Path
) -> None:
    with threadpool_limits(1):
        once, again = (measurements(initial(RUN), few_digits, UNIT_KL) for _ in range(2))
    assert once.facts == again.facts
    assert arrays_file(once.arrays) == arrays_file(again.arrays)
    write(tmp_path, "digest", b"weights", once)
    arrays = read_arrays(tmp_path / ARRAYS)
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "samples": ("uint8", (64, 64)),
        "map": ("float32", (40, 2)),
        "map_labels": ("uint8", (40,)),
        "manifold": ("uint8", (15, 15, 64)),
        "used_manifold": ("uint8", (15, 15, 64)),
        "digits": ("uint8", (20, 64)),
        "digit_labels": ("uint8", (20,)),
    }
    assert arrays["digit_labels"].tolist() == [digit for digit in range(10) for _ in range(2)]
    facts = json.loads((tmp_path / FACTS).read_text())
    assert {name: facts[name] for name in once.facts} == json.loads(json.dumps(once.facts))
    assert facts["manifold"]["dimensions"] == [0, 1]
    assert facts["used_manifold"]["dimensions"] == [2, 5]
    np.testing.assert_array_equal(arrays["used_manifold"], manifold(initial(RUN), 15, (2, 5)))
    assert (arrays["used_manifold"] != arrays["manifold"]).any()


MEASURED = Measurements({"samples": {}}, {"samples": np.zeros(1, np.uint8)})


def test_what_was_measured_is_current_until_weights_run_or_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_current(tmp_path, "digest", b"weights")
    write(tmp_path, "digest", b"weights", MEASURED)
    assert is_current(tmp_path, "digest", b"weights")
    assert not is_current(tmp_path, "digest", b"others")
    assert not is_current(tmp_path, "other", b"weights")
    with monkeypatch.context() as patch:
        patch.setattr(reproduction, "sources_sha256", lambda: "others")
        assert not is_current(tmp_path, "digest", b"weights")
    assert sorted(path.name for path in tmp_path.iterdir()) == [FACTS, ARRAYS]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"digest": "digest"}', b'{"dig'])
def test_damaged_facts_are_not_current(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "digest", b"weights", MEASURED)
    (tmp_path / FACTS).write_bytes(content)
    assert not is_current(tmp_path, "digest", b"weights")


def test_facts_without_their_arrays_are_not_current(tmp_path: Path) -> None:
    write(tmp_path, "digest", b"weights", MEASURED)
    (tmp_path / ARRAYS).unlink()
    assert not is_current(tmp_path, "digest", b"weights")
