"""The folder that `hvae reproduce` leaves, made without torch: weights at random, arrays of noise,
numbers of a good run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from builders import record

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.datasets import DATASETS
from hvae.records.attachments import Arrays, arrays_file, weights_file
from hvae.records.store import Store
from hvae.settings import digest

GOOD: dict[str, dict[str, Any]] = {
    "samples": {
        "digits_found": 10,
        "counts": [6, 5, 7, 6, 5, 6, 7, 6, 5, 6],
        "confidence": 0.81,
        "threshold": 0.5,
        "probe_test_accuracy": 0.95,
    },
    "map": {
        "images": 300,
        "perplexity": 30.0,
        "trustworthiness": 0.97,
        "neighbours": 5,
        "neighbour_accuracy": 0.8,
        "latent_neighbour_accuracy": 0.82,
    },
    "manifold": {
        "steps": 5,
        "extent": 3.0,
        "step_mse": 0.004,
        "tile_mse": 0.05,
        "digit_mse": 0.13,
        "smoothness": 0.97,
    },
}
GOOD["manifold"]["dimensions"] = [0, 1]
GOOD["used_manifold"] = GOOD["manifold"] | {"dimensions": [3, 7]}


def config(data: str = "mnist", depth: int = 2, epochs: int = 30) -> RunConfig:
    """The documented settings, or what else a test wants of them."""
    model = ModelConfig(input_dim=DATASETS[data].pixels, num_layers=depth)
    return RunConfig(model, TrainConfig(epochs=epochs), DataConfig(name=data))


def write(folder: Path, run: RunConfig, facts: dict[str, dict[str, Any]] = GOOD) -> Arrays:
    """Write record, weights, arrays and numbers of a run; the weights."""
    store = Store(folder)
    store.open_for_writing()
    state = weights(run.model)
    suffix = {".safetensors": weights_file(state, run)}
    store.write(record(run), suffix)
    (folder / "reproduction.npz").write_bytes(arrays_file(arrays(run.model.input_dim)))
    content = {"digest": digest(run), "sources_sha256": "cd" * 32, **facts}
    (folder / "reproduction.json").write_text(json.dumps(content))
    return state


def weights(model: ModelConfig, seed: int = 0) -> Arrays:
    """A state_dict of any depth, its entries of the size that training gives them."""
    rng = np.random.default_rng(seed)
    hidden, latent = model.hidden_dim, model.latent_dim
    state: Arrays = {}
    for level in range(model.num_layers):
        width = latent if level else model.input_dim
        shapes = {
            f"encoders.{level}.linear": (hidden, width),
            f"encoders.{level}.linear_mu": (latent, hidden),
            f"encoders.{level}.linear_logvar": (latent, hidden),
            f"decoders.{level}.linear_1": (hidden, latent),
            f"decoders.{level}.linear_2": (width, hidden),
        }
        for name, shape in shapes.items():
            state[f"{name}.weight"] = rng.normal(size=shape) * (2 / shape[1]) ** 0.5
            state[f"{name}.bias"] = 0.1 * rng.normal(size=shape[0])
    return {name: value.astype(np.float32) for name, value in state.items()}


def arrays(pixels: int, seed: int = 0) -> Arrays:
    """Arrays of the agreed shapes, noise in all of them."""
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> Any:
        return rng.integers(256, size=(*shape, pixels), dtype=np.uint8)

    return {
        "samples": noise(64),
        "map": rng.normal(size=(300, 2)).astype(np.float32),
        "map_labels": (np.arange(300) % 10).astype(np.uint8),
        "manifold": noise(5, 5),
        "used_manifold": noise(5, 5),
        "digits": noise(20),
        "digit_labels": (np.arange(20) // 2).astype(np.uint8),
    }
