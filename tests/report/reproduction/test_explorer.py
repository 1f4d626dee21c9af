"""What the page's JavaScript gets of a trained model."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from builders import record
from reproduction_builders import arrays, config, weights

from report.reproduction.explorer import embed, tensor_names


def embedded(depth: int, **changes: Any) -> dict[str, Any] | None:
    run = config("digits", depth)
    made = record(run)
    made.metrics["kl_per_unit_nats"] = [[0.123] * 20] * depth
    text = embed(made, weights(run.model) | changes, arrays(64))
    if text is None:
        return None
    assert "<" not in text  # nothing that could end the element it lies in
    held: dict[str, Any] = json.loads(text)
    return held


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_weights_come_back_in_half_precision_under_their_names(depth: int) -> None:
    held, state = embedded(depth), weights(config("digits", depth).model)
    packed = np.frombuffer(base64.b64decode(held["weights"]), "<f2")
    names = [name for name, _ in held["tensors"]]
    assert names == tensor_names(depth)
    assert set(state) - set(names) == {name for name in state if "logvar" in name}
    ends = np.cumsum([size for _, size in held["tensors"]])
    assert ends[-1] == len(packed)
    for name, part in zip(names, np.split(packed, ends[:-1]), strict=True):
        expected = state[name].ravel()
        # 11 bits of precision; below 6e-5 half precision is evenly spaced.
        np.testing.assert_allclose(part.astype(np.float32), expected, rtol=2**-11, atol=2**-25)


def test_digits_labels_and_sizes_come_along() -> None:
    held = embedded(2)
    images = arrays(64)
    digits = np.frombuffer(base64.b64decode(held["digits"]), np.uint8)
    assert (digits == images["digits"].ravel()).all()
    assert held["labels"] == images["digit_labels"].tolist()
    assert (held["levels"], held["latent"], held["kl"]) == (2, 20, [[0.12] * 20] * 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000.0])
def test_weights_beyond_half_precision_are_refused(value: float) -> None:
    assert embedded(2, **{"decoders.1.linear_2.bias": np.full(20, value, np.float32)}) is None
    assert embedded(2, **{"encoders.1.linear_logvar.bias": np.full(20, value, np.float32)})
