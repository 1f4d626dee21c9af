"""Images in memory. Shapes: N training images, M test images, D pixels. Bytes throughout.

`digits` comes with scikit-learn. The MNIST family is downloaded by torchvision, into its layout
(`MNIST/raw/*`), and its IDX files (LeCun, http://yann.lecun.com/exdb/mnist) are read in place.
"""

import hashlib
import http.client
import importlib
import math
import os
import re
import socket
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import platformdirs

from hvae.config import DATASETS, DataConfig, require_choice

if TYPE_CHECKING:  # importing this module must not import torch
    from torch import Generator
    from torch.library import Library

Bytes = npt.NDArray[np.uint8]
Part = dict[Path, tuple[int, ...]]  # IDX files of the training or test set -> shape of one item

BUNDLED = "digits"
IMAGE = (28, 28)  # of the MNIST family
TIMEOUT_SECONDS = 60.0  # torchvision sets none: a silent network would hang for minutes
MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")
OPERATORS_AT_MOST = 16  # missing ones: 2 seen; beyond this something else is wrong


class Family(NamedTuple):
    """Where torchvision keeps a dataset: folder (also its class), file names, what it downloads."""

    folder: str
    train: str = "train"
    test: str = "t10k"
    archive: str = "{}.gz"  # of the file {}


FAMILIES = {
    "mnist": Family("MNIST"),
    "fashion-mnist": Family("FashionMNIST"),
    "kmnist": Family("KMNIST"),
    "emnist-digits": Family("EMNIST", "emnist-digits-train", "emnist-digits-test", "gzip.zip"),
}


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


def data_dir(option: Path | None) -> Path:
    """The data folder: the option, else $HVAE_DATA, else the platform's user cache folder."""
    named = option or os.environ.get("HVAE_DATA")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("hvae")


def load(config: DataConfig, folder: Path) -> Images:
    """The images of a run. Raises `ValueError` like `require`.

    `static`: one fixed draw for training and test. `dynamic`: the same test draw, training images
    left grey for `binarize` to draw anew each epoch.
    """
    from hvae.streams import stream

    grey = load_grey(config.name, folder)
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


def load_grey(name: str, folder: Path) -> Grey:
    """The images as published, without torch. Raises `ValueError` like `require`."""
    if name == BUNDLED:
        return _load_digits()
    require(name, folder)
    axes = (0, 2, 1) if name == "emnist-digits" else (0, 1, 2)  # EMNIST stores columns first
    arrays = []
    for part in _parts(name, folder):
        images, labels = (_map(path, item) for path, item in part.items())
        arrays += [images.transpose(axes).reshape(len(labels), -1), labels]
    return Grey(255, *arrays)


def sha256(grey: Grey) -> str:
    """Hex digest of the four arrays, their shapes and the number of levels."""
    sha = hashlib.sha256(str(grey.levels).encode())
    for array in (grey.train, grey.train_labels, grey.test, grey.test_labels):
        sha.update(str(array.shape).encode())
        sha.update(array.ravel().data)
    return sha.hexdigest()


def require(name: str, folder: Path) -> None:
    """Raise `ValueError` unless the files are there, whole, and fit each other.

    Reads headers and sizes only, and imports no torch. The one line names the file, what is wrong
    with it, and the two ways to get it.
    """
    for part in _parts(name, folder):
        for path, fault in _faults(part).items():
            archive = path.with_name(FAMILIES[name].archive.format(path.name))
            hint = f" ({archive.name} is there: fetching unpacks it)" if archive.is_file() else ""
            raise ValueError(
                f"{name}: {path} {fault}{hint}; "
                f"get it with `hvae data fetch {name}`, or {_point_elsewhere(name)}"
            )


def fetch(name: str, folder: Path) -> Path:
    """Download what is missing or damaged, with progress on stderr; returns `folder`.

    Damaged files are kept under another name. Raises `ValueError` in one line where it fails.
    """
    if not any(_faults(part) for part in _parts(name, folder)):
        return folder
    torchvision = import_torchvision()
    try:
        _download(torchvision, name, folder)
    except (RuntimeError, OSError, EOFError, http.client.HTTPException, zipfile.BadZipFile) as e:
        # torchvision lets the errors of urllib, gzip and zipfile through.
        reason = " ".join(str(e).split()) or type(e).__name__
        raise ValueError(
            f"{name}: cannot be fetched into {folder}: {reason}; "
            f"try again with a network, or {_point_elsewhere(name)}"
        ) from e
    require(name, folder)
    return folder


def _parts(name: str, folder: Path) -> list[Part]:
    """Training and test files in torchvision's layout; none for the bundled digits."""
    require_choice("data", name, tuple(DATASETS))
    if name == BUNDLED:
        return []
    family = FAMILIES[name]
    stems = (folder / family.folder / "raw" / prefix for prefix in (family.train, family.test))
    return [
        {Path(f"{stem}-images-idx3-ubyte"): IMAGE, Path(f"{stem}-labels-idx1-ubyte"): ()}
        for stem in stems
    ]


def _point_elsewhere(name: str) -> str:
    return f"point --data-dir (or HVAE_DATA) at a folder that holds {FAMILIES[name].folder}/raw"


def _faults(part: Part) -> dict[Path, str]:
    """What is wrong with which file; empty where all is well."""
    faults, counts = {}, []
    for path, item in part.items():
        try:
            counts.append(_count(path, item))
        except FileNotFoundError:
            faults[path] = "is missing"
        except OSError as error:
            faults[path] = f"cannot be read: {error.strerror}"
        except ValueError as error:
            faults[path] = str(error)
    if not faults and counts[0] != counts[1]:
        return dict.fromkeys(part, f"does not fit: {counts[0]:,} images, {counts[1]:,} labels")
    return faults


def _count(path: Path, item: tuple[int, ...]) -> int:
    """Items in an IDX file of bytes. Raises `ValueError` where it is truncated or corrupt."""
    layout = struct.Struct(f">{2 + len(item)}I")  # magic number, items, axes of an item
    with path.open("rb") as file:
        header = file.read(layout.size)
        size = os.fstat(file.fileno()).st_size
    if len(header) < layout.size:
        raise ValueError(f"is truncated: {size} bytes, its header alone has {layout.size}")
    magic, count, *shape = layout.unpack(header)
    right = 0x0801 + len(item)  # 08: bytes; then the number of axes
    if magic != right:
        raise ValueError(f"is corrupt: it begins with 0x{magic:08x}, expected 0x{right:08x}")
    if tuple(shape) != item or count == 0:
        raise ValueError(f"is corrupt: it holds {count} items of shape {shape}, expected {[*item]}")
    expected = layout.size + count * math.prod(item)
    if size != expected:
        fault = "truncated" if size < expected else "corrupt"
        raise ValueError(f"is {fault}: {size:,} bytes, expected {expected:,}")
    return int(count)


def _map(path: Path, item: tuple[int, ...]) -> Bytes:
    """The items of a sound IDX file: [N, *item], mapped, so that worker processes share a copy."""
    shape = (_count(path, item), *item)
    # Copy-on-write rather than read-only: torch warns of arrays that it could not write.
    return np.asarray(np.memmap(path, np.uint8, "c"))[-math.prod(shape) :].reshape(shape)


def _load_digits() -> Grey:
    """scikit-learn's 1,797 digits of 8 by 8 pixels: 1,437 for training, 360 for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = (array.astype(np.uint8) for array in load_digits(return_X_y=True))
    split = train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)
    train, test, train_labels, test_labels = split
    return Grey(16, train, train_labels, test, test_labels)


def _download(torchvision: ModuleType, name: str, folder: Path) -> None:
    """Set damaged files aside (torchvision asks only whether a file exists), then download."""
    for path in [path for part in _parts(name, folder) for path in _faults(part) if path.exists()]:
        path.replace(path.with_name(f"{path.name}.damaged"))
    dataset = getattr(torchvision.datasets, FAMILIES[name].folder)
    options = {"split": "digits"} if name == "emnist-digits" else {}
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        for is_train in (True, False):  # EMNIST looks for the files of one part only
            dataset(folder, train=is_train, download=True, **options)
    finally:
        socket.setdefaulttimeout(previous)


_declared: dict[str, "Library"] = {}  # a declaration lives as long as its Library


def import_torchvision() -> ModuleType:
    """torchvision, importable also where its compiled operators do not load.

    PyPI's torchvision is built for CUDA: beside a CPU-only torch its operators do not load, and
    its import stops with "operator torchvision::nms does not exist" (then qnms). Datasets use
    none of them, so to declare each by name is enough. Where the import works nothing is declared.
    """
    from torch.library import Library

    while True:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = MISSING_OPERATOR.search(str(error))
            if missing is None or missing[1] in _declared or len(_declared) == OPERATORS_AT_MOST:
                raise
            # Never called, so its signature does not matter.
            library = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(f"{missing[1]}() -> ()")  # type: ignore[no-untyped-call]
            _declared[missing[1]] = library
            for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
                del sys.modules[module]  # half an import must not answer for the next one
