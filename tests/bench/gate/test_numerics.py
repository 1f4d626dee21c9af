"""What trainings come out as: the same twice, other as soon as anything is."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bench.gate.side import numerics
from bench.gate.side.harness import TRAININGS
from bench.gate.side.numerics import follow_all
from bench.gate.statistics import FAIL, PASS
from bench.gate.tiers import compare_numerics
from hvae.data.images import Images
from hvae.model import objectives
from hvae.training.fit import fit

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """One epoch of one batch, for the length of these tests."""
    load = numerics._images
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numerics, "EPOCHS", 1)
        patch.setattr(numerics, "_images", lambda binarize: few(load(binarize)))
        yield


def few(images: Images) -> Images:
    return replace(
        images,
        train=images.train[:64],
        train_labels=images.train_labels[:64],
        test=images.test[:20],
        test_labels=images.test_labels[:20],
        test_binary=images.test_binary[:20],
    )


def short_training() -> dict[str, Any]:
    runs = [numerics._run(1, 2)]
    return numerics._of_training(fit(runs, numerics._images("none"), engine="traced"))


def test_every_declared_training_is_followed_and_survives_json() -> None:
    found = follow_all()
    assert tuple(found) == TRAININGS
    for numbers in found.values():
        assert len(numbers["values"]) > 10
        assert all(math.isfinite(value) for value in numbers["values"].values())
    again = json.loads(json.dumps(found))
    assert compare_numerics(found, again, []).status == PASS
    assert "0.elbo_nats" in found["plain_evaluation"]["values"]
    assert "3.1.kl_per_level_nats.1" in found["documented"]["values"]


def test_the_same_training_twice_is_bitwise_equal_and_time_is_no_number() -> None:
    first, second = short_training(), short_training()
    assert first == second
    assert not [name for name in first["values"] if "seconds" in name]


def test_a_changed_constant_in_the_loss_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"documented": short_training()}
    real = objectives.closed_form_kl
    monkeypatch.setattr(objectives, "closed_form_kl", lambda *given: real(*given) * 1.000001)
    after = {"documented": short_training()}
    found = compare_numerics(before, after, [])
    assert found.status == FAIL
    assert "largest relative difference" in found.findings[0].text
