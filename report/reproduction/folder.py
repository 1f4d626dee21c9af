"""What `hvae reproduce` left in its folder, read and checked: record, numbers, pictures, weights.

Shapes: D pixels, N images on the map, S steps of the manifold, T levels, L latent.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hvae.config import RunConfig, as_dict
from hvae.records.attachments import Arrays, AttachmentError, read_arrays, read_weights
from hvae.records.store import Record, Store
from report.reproduction.verdicts import Plane

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
PLANE = ("steps", "extent", "step_mse", "tile_mse", "digit_mse", "smoothness")
NUMBERS = {  # section -> the numbers it must hold
    "samples": ("digits_found", "confidence", "threshold", "probe_test_accuracy"),
    "map": (
        "images",
        "perplexity",
        "trustworthiness",
        "neighbours",
        "neighbour_accuracy",
        "latent_neighbour_accuracy",
    ),
    "manifold": PLANE,
    "used_manifold": PLANE,
}
MANIFOLDS = ("manifold", "used_manifold")
LISTS = {"samples": ("counts",), **dict.fromkeys(MANIFOLDS, ("dimensions",))}
SHAPES = {  # array -> its dimensions; D is the record's
    "samples": ("64", "D"),
    "map": ("N", "2"),
    "map_labels": ("N",),
    "manifold": ("S", "S", "D"),
    "used_manifold": ("S", "S", "D"),
    "digits": ("n", "D"),
    "digit_labels": ("n",),
}
SETTINGS = ("model", "train", "data")  # the sections that the documentation fixes
FREE = ("seed", "input_dim")  # but what it leaves open, and what the data set decides


@dataclass(frozen=True, eq=False)
class Reproduction:
    """One run with the documented settings, or nearly, and what was made of its model."""

    record: Record
    numbers: Mapping[str, Mapping[str, float]]
    counts: tuple[int, ...]  # of each digit among the samples
    dimensions: Mapping[str, tuple[int, int]]  # of each manifold, from 0
    samples: Bytes  # [64, D]
    map: Floats  # [N, 2]
    map_labels: Bytes  # [N]
    manifold: Bytes  # [S, S, D], over the first two dimensions of the last level
    used_manifold: Bytes  # [S, S, D], over the two that hold most
    digits: Bytes  # [20, D]
    digit_labels: Bytes  # [20]
    weights: Arrays

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return math.isqrt(self.record.run.model.input_dim)

    @property
    def losses(self) -> list[float]:
        """Mean training loss of each epoch; NaN where it was no number."""
        return [_number(epoch.get("loss")) for epoch in self.record.history]

    @property
    def trained_kl_nats(self) -> float:
        """Σ K_t of the last epoch, as the loss counts it."""
        return math.fsum(map(_number, self.record.history[-1]["kl_per_level_nats"]))

    @property
    def last_kl_nats(self) -> float:
        """KL of the last level on the test set."""
        return _number(self.record.metrics["kl_per_level_nats"][-1])

    @property
    def unit_kl_nats(self) -> list[list[float]]:
        """KL of each unit on the test set: [T, L]."""
        return [[*map(_number, units)] for units in self.record.metrics["kl_per_unit_nats"]]

    def metric(self, name: str) -> float:
        """A metric of the test set; NaN where it was no number."""
        return _number(self.record.metrics[name])

    def plane(self, name: str) -> Plane:
        """What was measured of `manifold` or of `used_manifold`."""
        facts, units = self.numbers[name], self.unit_kl_nats[-1]
        first, second = self.dimensions[name]
        variety = facts["tile_mse"] / facts["digit_mse"]
        held = units[first] + units[second]
        return Plane((first, second), facts["smoothness"], variety, held)

    @property
    def differences(self) -> list[str]:
        """Settings that are not the documented ones: `epochs 3, not 30`."""
        own, documented = as_dict(self.record.run), as_dict(RunConfig())
        return [
            f"{'data' if section == 'data' and name == 'name' else name} {value}, "
            f"not {documented[section][name]}"
            for section in SETTINGS
            for name, value in own[section].items()
            if value != documented[section][name] and name not in FREE
        ]


def read_reproduction(folder: Path) -> Reproduction:
    """The content of a folder; raises `ValueError` naming a file that is missing or not whole."""
    facts = _facts(folder / "reproduction.json")
    store = Store(folder)
    record = store.read(facts["digest"])
    if record.run.train.loss != "bce":
        raise ValueError(f"loss: {record.run.train.loss!r} is not documented; allowed: 'bce'")
    return Reproduction(
        record=record,
        numbers={
            section: {name: _number(facts[section][name]) for name in names}
            for section, names in NUMBERS.items()
        },
        counts=tuple(map(int, facts["samples"]["counts"])),
        dimensions={name: _pair(facts[name]["dimensions"]) for name in MANIFOLDS},
        weights=read_weights(store.weights_path(record.digest)),
        **_arrays(folder / "reproduction.npz", record.run.model.input_dim),
    )


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
        missing = [
            f"{section}.{name}"
            for section, names in NUMBERS.items()
            for name in (*names, *LISTS.get(section, ()))
            if name not in facts[section]
        ]
        if missing or not isinstance(facts["digest"], str):
            raise ValueError(f"it lacks {', '.join(missing) or 'a digest'}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damage(path, error) from error
    return facts


def _arrays(path: Path, pixels: int) -> Arrays:
    """The arrays of `SHAPES`, each with its dimensions; equal letters are equal numbers."""
    sizes, found = {"D": pixels, "2": 2, "64": 64}, read_arrays(path)
    for name, letters in SHAPES.items():
        shape = found[name].shape if name in found else ()
        if len(shape) == len(letters):
            expected = tuple(map(sizes.setdefault, letters, shape))
        if len(shape) != len(letters) or shape != expected:
            raise AttachmentError(f"{path}: no {name} [{', '.join(letters)}] with D = {pixels}")
    return {name: found[name] for name in SHAPES}


def _damage(path: Path, error: Exception) -> ValueError:
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    if isinstance(error, OSError):
        reason = error.strerror or reason
    return ValueError(f"{path}: {reason.splitlines()[0]}; run `hvae reproduce` again")


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
