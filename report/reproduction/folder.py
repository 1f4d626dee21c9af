"""What `hvae reproduce` left in its folder, read: record, numbers, pictures, weights."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hvae.config import RunConfig, as_dict
from hvae.records.attachments import Arrays, read_arrays, read_weights
from hvae.records.files import read_whole
from hvae.records.store import Record, Store
from report.render.numbers import counted
from report.reproduction.verdicts import Plane

PLANES = ("manifold", "used_manifold")  # the first two dimensions, and the two that hold most
SETTINGS = ("model", "train", "data")  # the sections that the documentation fixes
FREE = ("seed", "input_dim")  # but what it leaves open, and what the data set decides


@dataclass(frozen=True, eq=False)
class Reproduction:
    """One run with the documented settings, or nearly, and what was measured of its model."""

    record: Record
    facts: Mapping[str, Mapping[str, Any]]  # by picture, as `hvae.pictures.reproduction` has them
    planes: Mapping[str, Plane]
    arrays: Arrays
    weights: Arrays

    def images(self, name: str) -> npt.NDArray[np.uint8]:
        """An array of images at their own shape: [..., height, width]."""
        found: npt.NDArray[np.uint8] = self.arrays[name]
        return found.reshape(*found.shape[:-1], *self.record.run.data.dataset.shape)

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
        levels = counted(model.num_layers, "level")
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
    """The content of a folder whose pictures were measured. Raises `ValueError` naming a file that
    is missing or damaged, or a run of which there is nothing to show."""
    store = Store(folder)
    facts = json.loads(read_whole(folder / "reproduction.json"))
    record = store.read(facts["digest"])
    if record.status != "finished":
        raise ValueError(f"{store.path(record.digest)}: {record.status}, so nothing can be shown")
    unit_kl = record.metrics["kl_per_unit_nats"][-1]
    return Reproduction(
        record,
        facts,
        {name: _plane(facts[name], unit_kl) for name in PLANES},
        read_arrays(folder / "reproduction.npz"),
        read_weights(store.weights_path(record.digest)),
    )


def _plane(facts: Mapping[str, Any], unit_kl_nats: list[float]) -> Plane:
    first, second = facts["dimensions"]
    variety = facts["tile_mse"] / facts["digit_mse"]
    kl_nats = unit_kl_nats[first] + unit_kl_nats[second]
    return Plane((first, second), facts["smoothness"], variety, kl_nats)
