"""The trained model as the page's JavaScript takes it: half-precision weights in base64.

Shapes: D pixels, H hidden, L latent, T levels. Of an encoder only the mean is needed: 2 · H · L
weights fewer. Half precision keeps 11 bits, and the decoded pixels within 1e-2.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hvae.config import ModelConfig

PARTS = ("linear", "linear_mu"), ("linear_1", "linear_2")  # of an encoder, of a decoder


def tensor_names(levels: int) -> list[str]:
    """The weights that the explorer needs, in the order in which they are embedded."""
    return [
        f"{kind}.{level}.{part}.{what}"
        for level in range(levels)
        for kind, parts in zip(("encoders", "decoders"), PARTS, strict=True)
        for part in parts
        for what in ("weight", "bias")
    ]


def embed(
    model: ModelConfig,
    weights: Mapping[str, npt.NDArray[Any]],
    digits: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    kl_per_unit_nats: Sequence[Sequence[float]],
) -> str | None:
    """JSON for the page, safe inside `<script>`; None where half precision cannot hold a weight."""
    names = tensor_names(model.num_layers)
    with np.errstate(over="ignore"):
        halves = [np.asarray(weights[name]).astype("<f2") for name in names]
    if not all(np.isfinite(half).all() for half in halves):
        return None
    held = {
        "levels": model.num_layers,
        "latent": model.latent_dim,
        "tensors": [[name, half.size] for name, half in zip(names, halves, strict=True)],
        "weights": _base64(b"".join(half.tobytes() for half in halves)),
        "digits": _base64(np.ascontiguousarray(digits).tobytes()),
        "labels": labels.tolist(),
        "kl": [[round(float(kl), 2) for kl in level] for level in kl_per_unit_nats],
    }
    return json.dumps(held, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
