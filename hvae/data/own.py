"""Images of one's own: an .npz file, or a folder of IDX files named like MNIST's. Without torch.

In the file: `train` [N, height, width] and `test` [M, height, width], bytes, booleans or floats in
[0, 1]; if there are labels, `train_labels` [N] and `test_labels` [M], integers in 0–255; `levels`,
the byte that is white, where that is not 255. In the folder, or its `raw`, each as it is or with
.gz: `train-images-idx3-ubyte`, `t10k-images-idx3-ubyte` (or `test-…`), and their labels.
"""

import gzip
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hvae.data.images import Grey, sha256
from hvae.data.mnist import Bytes

Arrays = Mapping[str, npt.NDArray[Any]]
PARTS = {"train": ("train",), "test": ("t10k", "test")}  # how the files of a folder begin
LABELS = {part: f"{part}_labels" for part in PARTS}
# Of an encrypted file, and of one that is compressed in another way, zipfile's is a RuntimeError.
UNREADABLE = (ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Own(NamedTuple):
    """Images of one's own: their content, sizes (training, test, height, width) and digest."""

    grey: Grey
    sizes: tuple[int, int, int, int]
    sha256: str


def described(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, by their names, with those of what lies at their `data.path`, where they have one.

    Raises `ValueError` like `read`.
    """
    path = settings.get("data.path", "")
    if not path:
        return dict(settings)
    own = read(path)
    known = {"data.name": Path(path).stem, "data.sha256": own.sha256, "data.sizes": own.sizes}
    return {**settings, **known}


def read(path: Any) -> Own:
    """The images at a path, a file or a folder: read once.

    Without labels all of them are 0. Floats are kept to 1/255, unless all are 0 or 1. Raises
    `ValueError` naming the path, what is wrong there and what is allowed.
    """
    if not isinstance(path, str):
        raise ValueError(f"data.path: {path!r} is not allowed; allowed: text in quotes")
    where = Path(os.path.expanduser(path))
    try:
        files = _files(where)
        return _read(tuple((file, _content(file)) for file in files))
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    except UNREADABLE as error:
        fault = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"data.path: {path!r} {fault}")


@lru_cache(maxsize=2)
def _read(contents: tuple[tuple[Path, bytes], ...]) -> Own:
    files = [file for file, _ in contents]
    arrays = _unpacked(files[0]) if files[0].suffix == ".npz" else _idx_arrays(files)
    for part in PARTS:
        _require_images(part, arrays)
    shape, other = (arrays[part].shape[1:3] for part in PARTS)
    if shape != other:
        raise ValueError(
            f"has images of {shape} to train on, of {other} to test; allowed: one size"
        )
    levels = _levels(arrays)
    train, test = (_bytes(arrays[part], levels).reshape(len(arrays[part]), -1) for part in PARTS)
    train_labels, test_labels = (_labels(part, arrays) for part in PARTS)
    grey = Grey(levels, train, train_labels, test, test_labels)
    return Own(grey, (len(train), len(test), *shape), sha256(grey))


def _files(where: Path) -> list[Path]:
    """What is read: the file itself, or the images and labels of a folder, in order."""
    if not where.is_dir():
        if where.suffix != ".npz":
            where.stat()
            raise ValueError("is no *.npz and no folder; allowed: one of the two")
        return [where]
    folder = where / "raw" if (where / "raw").is_dir() else where
    found = []
    for starts in PARTS.values():
        for kind in ("images-idx3", "labels-idx1"):
            names = [f"{start}-{kind}-ubyte{end}" for start in starts for end in ("", ".gz")]
            there = [folder / name for name in names if (folder / name).is_file()]
            if not there and kind.startswith("images"):
                raise ValueError(f"lacks {names[0]}; allowed: it, or with .gz")
            found += there[:1]
    return found


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _unpacked(file: Path) -> Arrays:
    if not zipfile.is_zipfile(file):
        raise ValueError("is no whole .npz; allowed: an archive that numpy.savez wrote")
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _idx_arrays(files: list[Path]) -> Arrays:
    """The arrays of a folder's files, named as those of an .npz."""
    found = {}
    for file in files:
        part = "train" if file.name.startswith("train") else "test"
        found[LABELS[part] if "labels" in file.name else part] = _idx(file)
    return found


def _idx(file: Path) -> Bytes:
    """The bytes of an IDX file, mapped where they are not packed, so that workers share a copy."""
    if file.suffix == ".gz":
        content = np.frombuffer(bytearray(gzip.decompress(file.read_bytes())), np.uint8)
    else:
        content = np.asarray(np.memmap(file, np.uint8, "c"))
    axes = int(content[3]) if len(content) > 3 and list(content[:3]) == [0, 0, 8] else 0
    shape = content[4 : 4 + 4 * axes].copy().view(">u4").tolist()
    if axes not in (1, 3) or len(shape) != axes:
        raise ValueError(f"holds {file.name}, which is no IDX file of bytes")
    if len(content) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(f"holds {file.name}, which is truncated or corrupt")
    return content[4 + 4 * axes :].reshape(shape)


def _require_images(part: str, arrays: Arrays) -> None:
    if part not in arrays:
        raise ValueError(
            f"has no array {part!r}; allowed: train and test, with labels train_labels and "
            f"test_labels; there are {', '.join(sorted(arrays)) or 'none'}"
        )
    images = arrays[part]
    is_flat = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 1)
    if not is_flat or 0 in images.shape or len(images) < 2:
        raise ValueError(
            f"has {part} of shape {list(images.shape)}; allowed: [images, height, width], two "
            "images or more"
        )
    is_float = images.dtype.kind == "f"
    if not (is_float or images.dtype in (np.uint8, np.bool_)):
        raise ValueError(
            f"has {part} of {images.dtype}; allowed: uint8, booleans, floats in [0, 1]"
        )
    if is_float and not (images.min() >= 0 and images.max() <= 1):  # also NaN
        raise ValueError(f"has {part} outside [0, 1]; allowed: floats in it, or uint8")


def _levels(arrays: Arrays) -> int:
    """The byte that is white: 1 where all pixels are 0 or 1."""
    images = [arrays[part] for part in PARTS]
    given = arrays.get("levels")
    if given is None:
        is_binary = all(bool(((part == 0) | (part == 1)).all()) for part in images)
        return 1 if is_binary else 255
    is_known = given.size == 1 and given.dtype.kind in "iu"
    levels = int(given.reshape(-1)[0]) if is_known else 0
    largest = max((int(part.max()) for part in images if part.dtype.kind != "f"), default=0)
    if not max(1, largest) <= levels <= 255:
        raise ValueError(
            f"has levels {given.tolist()}; allowed: an integer from the largest pixel to 255"
        )
    return levels


def _bytes(images: npt.NDArray[Any], levels: int) -> Bytes:
    if images.dtype == np.uint8:
        return images
    return np.rint(images.astype(np.float32) * levels).astype(np.uint8)


def _labels(part: str, arrays: Arrays) -> Bytes:
    images, name = arrays[part], LABELS[part]
    others = [other for other in LABELS.values() if other in arrays]
    if not others:
        return np.zeros(len(images), np.uint8)
    labels = arrays.get(name)
    if labels is None or labels.shape != (len(images),):
        shape = "none" if labels is None else f"shape {list(labels.shape)}"
        raise ValueError(
            f"has {len(images):,} images {part} and {name} of {shape}; allowed: one label an "
            "image, or no labels at all"
        )
    if labels.dtype.kind not in "iub":
        raise ValueError(f"has {name} of {labels.dtype}; allowed: integers in 0–255")
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"has {name} beyond 0–255; allowed: integers in it")
    return labels.astype(np.uint8)
