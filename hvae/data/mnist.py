"""Files of the MNIST family in torchvision's layout (`MNIST/raw/*`): where they lie, what is wrong
with them, their bytes. IDX is LeCun's format (http://yann.lecun.com/exdb/mnist). Imports no torch.
"""

import math
import os
import shlex
import struct
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from hvae.datasets import DATASETS
from hvae.validation import require_choice

Bytes = npt.NDArray[np.uint8]
Part = dict[Path, tuple[int, ...]]  # IDX files of the training or test set -> shape of one item

IMAGE = (28, 28)  # of the MNIST family


def data_dir(option: Path | None) -> Path:
    """The data folder: the option, else $HVAE_DATA, else the platform's user cache folder; that of
    a user without a home is one for temporary files, for the bundled digits need none."""
    if named := option or os.environ.get("HVAE_DATA"):
        return Path(os.path.expanduser(named))
    try:
        return platformdirs.user_cache_path("hvae")
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "hvae"


def require(name: str, folder: Path) -> None:
    """Raise `ValueError` unless the files are there, whole, and fit each other.

    Reads headers and sizes only, and imports no torch. The one line names the file, what is wrong
    with it, and the two ways to get it.
    """
    for part in files_of(name, folder):
        for path, fault in faults_of(part).items():
            archive = path.with_name(DATASETS[name].archive.format(path.name))
            hint = f" ({archive.name} is there: fetching unpacks it)" if archive.is_file() else ""
            where = "" if folder == data_dir(None) else f" --data-dir {shlex.quote(str(folder))}"
            raise ValueError(
                f"{name}: {path} {fault}{hint}; "
                f"get it with `hvae data fetch {name}{where}`, or {point_elsewhere(name)}"
            )


def files_of(name: str, folder: Path) -> list[Part]:
    """Training and test files in torchvision's layout; none for the bundled digits."""
    require_choice("data", name, tuple(DATASETS))
    family = DATASETS[name]
    if family.is_bundled:
        return []
    stems = (folder / family.folder / "raw" / prefix for prefix in (family.train, family.test))
    return [
        {Path(f"{stem}-images-idx3-ubyte"): IMAGE, Path(f"{stem}-labels-idx1-ubyte"): ()}
        for stem in stems
    ]


def point_elsewhere(name: str) -> str:
    return f"point --data-dir (or HVAE_DATA) at a folder that holds {DATASETS[name].folder}/raw"


def faults_of(part: Part) -> dict[Path, str]:
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


def map_file(path: Path, item: tuple[int, ...]) -> Bytes:
    """The items of a sound IDX file: [N, *item], mapped, so that worker processes share a copy."""
    shape = (_count(path, item), *item)
    # Copy-on-write rather than read-only: torch warns of arrays that it could not write.
    return np.asarray(np.memmap(path, np.uint8, "c"))[-math.prod(shape) :].reshape(shape)
