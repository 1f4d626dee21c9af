"""A small MNIST in torchvision's layout."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.rungs import Source

MakeSource = Callable[[int], Source]


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture(scope="session")
def make_source(tmp_path_factory: pytest.TempPathFactory) -> MakeSource:
    """A folder with so many random training images; white pixels and black ones among them."""

    def make(images: int) -> Source:
        folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", images), ("t10k", 3)):
            grey = random.integers(-200, 456, size=(count, 28, 28)).clip(0, 255)
            write_idx(raw / f"{part}-images-idx3-ubyte", grey.astype(np.uint8))
            labels = random.integers(10, size=count, dtype=np.uint8)
            write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
        return Source("mnist", folder, images)

    return make
