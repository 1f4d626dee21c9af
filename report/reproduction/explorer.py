"""The trained model as the page's JavaScript takes it: half-precision weights in base64.

Shapes: D pixels, H hidden, L latent, T levels. Of an encoder only the mean is needed: 2 · H · L
weights fewer. Half precision keeps 11 bits, and the decoded pixels within 1e-2.
"""

import base64
import json

import numpy as np

from hvae.records.attachments import Arrays
from hvae.records.store import Record

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


def embed(record: Record, weights: Arrays, arrays: Arrays) -> str | None:
    """A run's model with its `digits` and `digit_labels` as JSON for the page, safe inside
    `<script>`; None where half precision cannot hold a weight."""
    model = record.run.model
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
        "digits": _base64(arrays["digits"].tobytes()),
        "labels": arrays["digit_labels"].tolist(),
        "kl": np.round(record.metrics["kl_per_unit_nats"], 2).tolist(),
    }
    return json.dumps(held, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
