"""Images in memory. Shapes: N training images, M test images, D pixels. Bytes throughout.

`digits` comes with scikit-learn; the files of the MNIST family are read in place, and so are
those of one's own.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hvae.config import DataConfig
from hvae.data.mnist import Bytes, files_of, map_file, require
from hvae.datasets import DATASETS

if TYPE_CHECKING:  # importing this module must not import torch
    from torch import Generator


class Grey(NamedTuple):
    """Images as published: train [N, D], test [M, D], labels [N], [M]; 0 to `levels` is [0, 1]."""

    levels: int
    train: Bytes
    train_labels: Bytes
    test: Bytes
    test_labels: Bytes


@dataclass(frozen=True, eq=False)
class Images:
    """What a run trains on and is judged by: train [N, D], test [M, D], labels [N], [M].

    A pixel in [0, 1] is its byte divided by `train_levels` or `test_levels`. `test_binary` [M, D]
    is one fixed draw of the grey test images, the same for every `binarize`. `sha256` names the
    grey images and their labels, from which all else follows.
    """

    train: Bytes
    train_labels: Bytes
    train_levels: int
    test: Bytes
    test_labels: Bytes
    test_levels: int
    test_binary: Bytes
    sha256: str

    @cached_property
    def is_test_binary(self) -> bool:
        """Whether the test images are black and white, and so the very same as `test_binary`."""
        return np.array_equal(self.test, self.test_binary * self.test_levels)


def load(config: DataConfig, folder: Path) -> Images:
    """The images of a run. Raises `ValueError` like `require_images`.

    `static`: one fixed draw for training and test. `dynamic`: the same test draw, training images
    left grey for `binarize` to draw anew each epoch.
    """
    from hvae.streams import stream

    grey = _own(config) if config.path else load_grey(config.name, folder)
    test_binary = binarize(grey.test, grey.levels, stream("binarize", 1))
    train, train_levels = grey.train, grey.levels
    if config.binarize == "static":
        train, train_levels = binarize(train, train_levels, stream("binarize", 0)), 1
    is_grey = config.binarize == "none"
    return Images(
        train=train,
        train_labels=grey.train_labels,
        train_levels=train_levels,
        test=grey.test if is_grey else test_binary,
        test_labels=grey.test_labels,
        test_levels=grey.levels if is_grey else 1,
        test_binary=test_binary,
        sha256=sha256(grey),
    )


def binarize(grey: Bytes, levels: int, generator: "Generator") -> Bytes:
    """A Bernoulli draw of each pixel with mean grey / levels: [N, D] -> [N, D] of 0 and 1."""
    import torch

    # u uniform on 0..levels-1 is below g in exactly g of `levels` cases: no float is rounded.
    uniform = torch.randint(levels, grey.shape, generator=generator, dtype=torch.uint8)
    return (uniform.numpy() < grey).view(np.uint8)


def require_images(config: DataConfig, folder: Path) -> None:
    """Raise `ValueError` unless the images of a run are there: like `require`, and where those at a
    path are not what they were."""
    if config.path:
        _own(config)
    else:
        require(config.name, folder)


def _own(config: DataConfig) -> Grey:
    from hvae.data.own import read

    own = read(config.path)
    if own.sha256 != config.sha256:
        raise ValueError(f"data.path: {config.path!r} has changed; allowed: what it was")
    return own.grey


def load_grey(name: str, folder: Path) -> Grey:
    """The images as published, without torch. Raises `ValueError` like `require`."""
    require(name, folder)
    if DATASETS[name].is_bundled:
        return _load_digits()
    axes = (0, 2, 1) if name == "emnist-digits" else (0, 1, 2)  # EMNIST stores columns first
    arrays = []
    for part in files_of(name, folder):
        images, labels = (map_file(path, item) for path, item in part.items())
        arrays += [images.transpose(axes).reshape(len(labels), -1), labels]
    return Grey(255, *arrays)


def sha256(grey: Grey) -> str:
    """Hex digest of the four arrays, their shapes and the number of levels."""
    sha = hashlib.sha256(str(grey.levels).encode())
    for array in (grey.train, grey.train_labels, grey.test, grey.test_labels):
        sha.update(str(array.shape).encode())
        sha.update(array.ravel().data)
    return sha.hexdigest()


def _load_digits() -> Grey:
    """scikit-learn's 1,797 digits of 8 by 8 pixels: 1,437 for training, 360 for the test.

    Its file is read in place: to import its loader takes longer than to train on what it loads.
    """
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, delimiter=",").astype(np.uint8)
    rows = np.random.default_rng(0).permutation(rows)
    images, labels = rows[:, :-1], rows[:, -1]
    is_test = np.zeros(len(rows), np.bool_)
    is_test[labels.argsort(kind="stable")[::5]] = True  # every fifth of each digit
    return Grey(16, images[~is_test], labels[~is_test], images[is_test], labels[is_test])
