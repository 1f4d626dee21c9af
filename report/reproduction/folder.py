"""What `hvae reproduce` left in its folder, read and checked: record, numbers, pictures, weights.

Shapes: D pixels, N images on the map, S steps of the manifold, n test digits, T levels, L latent.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hvae.config import RunConfig, as_dict
from hvae.records.attachments import Arrays, AttachmentError, read_arrays, read_weights
from hvae.records.store import Record, Store
from report.reproduction.verdicts import Plane

PLANES = ("manifold", "used_manifold")  # the first two dimensions, and the two that hold most
PLANE = ("dimensions", "steps", "extent", "step_mse", "tile_mse", "digit_mse", "smoothness")
FACTS = {  # section -> the numbers it must hold
    "samples": ("counts", "digits_found", "confidence", "threshold", "probe_test_accuracy"),
    "map": (
        *("images", "perplexity", "trustworthiness", "neighbours"),
        *("neighbour_accuracy", "latent_neighbour_accuracy"),
    ),
    **dict.fromkeys(PLANES, PLANE),
}
LENGTHS = {"counts": (10,), "dimensions": (2,)}  # of the lists; all others are one number
SHAPES = {  # array -> its dimensions; D is the record's
    "samples": ("64", "D"),
    "map": ("N", "2"),
    "map_labels": ("N",),
    **dict.fromkeys(PLANES, ("S", "S", "D")),
    "digits": ("n", "D"),
    "digit_labels": ("n",),
}
SETTINGS = ("model", "train", "data")  # the sections that the documentation fixes
FREE = ("seed", "input_dim")  # but what it leaves open, and what the data set decides


@dataclass(frozen=True, eq=False)
class Reproduction:
    """One run with the documented settings, or nearly, and what was measured of its model."""

    folder: Path
    record: Record
    facts: Mapping[str, Mapping[str, Any]]  # the numbers of `FACTS`, NaN for null
    planes: Mapping[str, Plane]
    arrays: Arrays  # those of `SHAPES`
    weights: Arrays

    @property
    def losses(self) -> list[float]:
        """Mean training loss of each epoch."""
        return [epoch["loss"] for epoch in self.record.history]

    @property
    def trained_kl_nats(self) -> float:
        """Σ K_t of the last epoch, as the loss counts it."""
        return math.fsum(self.record.history[-1]["kl_per_level_nats"])

    @property
    def last_kl_nats(self) -> float:
        """KL of the last level on the test set."""
        return float(self.record.metrics["kl_per_level_nats"][-1])

    @property
    def sizes(self) -> str:
        """`784-100-20, 2 levels`."""
        model = self.record.run.model
        levels = f"{model.num_layers} level{'' if model.num_layers == 1 else 's'}"
        return f"{model.input_dim}-{model.hidden_dim}-{model.latent_dim}, {levels}"

    @property
    def differences(self) -> list[str]:
        """Settings that are not the documented ones: `epochs 3, not 30`."""
        run, documented = as_dict(self.record.run), as_dict(RunConfig())
        return [
            f"{'data' if section == 'data' and name == 'name' else name} {value}, "
            f"not {documented[section][name]}"
            for section in SETTINGS
            for name, value in run[section].items()
            if value != documented[section][name] and name not in FREE
        ]


def read_reproduction(folder: Path) -> Reproduction:
    """The content of a folder; raises `ValueError` naming a file that is missing or not whole, or a
    run of which there is nothing to show."""
    store, path = Store(folder), folder / "reproduction.json"
    with _naming(path):
        facts = json.loads(path.read_bytes(), object_hook=_with_nan)
        _check(facts)
        name = facts["digest"]
    record = store.read(name)
    if record.run.train.loss != "bce":
        raise ValueError(f"loss: {record.run.train.loss!r} is not documented; allowed: 'bce'")
    if record.status != "finished":
        raise ValueError(f"{store.path(name)}: {record.status}, so there is nothing to show")
    with _naming(path):
        unit_kl = record.metrics["kl_per_unit_nats"][-1]
        planes = {plane: _plane(facts[plane], unit_kl) for plane in PLANES}
    arrays = _arrays(folder / "reproduction.npz", record.run.model.input_dim)
    weights = read_weights(store.weights_path(name))
    return Reproduction(folder, record, facts, planes, arrays, weights)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file, as one line that names it."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, ZeroDivisionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, OSError):
            reason = error.strerror or reason
        raise ValueError(f"{path}: {reason.splitlines()[0]}; run `hvae reproduce` again") from error


def _check(facts: Mapping[str, Mapping[str, Any]]) -> None:
    for section, names in FACTS.items():
        for name in names:
            value = facts[section][name]
            if np.add(value, 0.0).shape != LENGTHS.get(name, ()):
                raise ValueError(f"{section}.{name} {value!r} is not as agreed")


def _with_nan(section: dict[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in section.items()}


def _plane(facts: Mapping[str, Any], unit_kl_nats: list[float]) -> Plane:
    first, second = facts["dimensions"]
    variety = facts["tile_mse"] / facts["digit_mse"]
    kl_nats = unit_kl_nats[first] + unit_kl_nats[second]
    return Plane((first, second), facts["smoothness"], variety, kl_nats)


def _arrays(path: Path, pixels: int) -> Arrays:
    """The arrays of `SHAPES`, each with its dimensions; equal letters are equal numbers."""
    sizes, arrays = {"D": pixels, "2": 2, "64": 64}, read_arrays(path)
    for name, letters in SHAPES.items():
        shape = arrays[name].shape if name in arrays else ()
        expected = tuple(map(sizes.setdefault, letters, shape))
        if len(shape) != len(letters) or shape != expected:
            raise AttachmentError(f"{path}: no {name} [{', '.join(letters)}] with D = {pixels}")
    return arrays
