"""Images of one's own: what a file or a folder may hold, and what is said of every other."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hvae.config import DataConfig
from hvae.data import images as data
from hvae.data.own import described, read

RNG = np.random.default_rng(0)
SHAPE = (3, 5)
TRAIN, TEST = (RNG.integers(0, 256, (n, *SHAPE), np.uint8) for n in (6, 4))
LABELS = {"train_labels": np.arange(6), "test_labels": np.arange(4)}
ARRAYS: dict[str, Any] = {"train": TRAIN, "test": TEST, **LABELS}
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte")
IDX = (*IDX, "t10k-labels-idx1-ubyte")


def npz(folder: Path, **changed: Any) -> str:
    """A file of ARRAYS, some of them changed, those that are None left out."""
    path = folder / "own.npz"
    np.savez(path, **{k: v for k, v in (ARRAYS | changed).items() if v is not None})
    return str(path)


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def folder_of(folder: Path, pack: Callable[[bytes], bytes] = bytes, end: str = "") -> str:
    arrays = (TRAIN, LABELS["train_labels"], TEST, LABELS["test_labels"])
    for name, array in zip(IDX, arrays, strict=True):
        (folder / f"{name}{end}").write_bytes(pack(idx(array)))
    return str(folder)


def told(path: Any) -> str:
    with pytest.raises(ValueError, match=r"^data\.path: ") as refused:
        read(path)
    message = str(refused.value)
    assert repr(path) in message
    assert "\n" not in message
    return message


def test_a_file_a_folder_and_a_packed_folder_of_the_same_images_are_the_same(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("npz", "plain", "packed", "deep/raw")]
    for folder in folders:
        folder.mkdir(parents=True)
    found = [
        read(npz(folders[0])),
        read(folder_of(folders[1])),
        read(folder_of(folders[2], gzip.compress, ".gz")),
        read(str(Path(folder_of(folders[3])).parent)),
    ]
    grey, sizes, content = found[0]
    assert sizes == (6, 4, 3, 5)
    assert grey.levels == 255
    np.testing.assert_array_equal(grey.train, TRAIN.reshape(6, 15))
    np.testing.assert_array_equal(grey.test_labels, [0, 1, 2, 3])
    assert {(own.sizes, own.sha256) for own in found} == {(sizes, content)}


@pytest.mark.parametrize(
    ("train", "levels", "bytes_"),
    [
        (TRAIN / 255, 255, TRAIN),
        (TRAIN[..., None], 255, TRAIN),
        (TRAIN > 99, 1, TRAIN > 99),
        ((TRAIN > 99).astype(np.float16), 1, TRAIN > 99),
        (TRAIN // 128, 1, TRAIN // 128),
    ],
)
def test_grey_levels_are_as_the_file_has_them(
    train: np.ndarray, levels: int, bytes_: np.ndarray, tmp_path: Path
) -> None:
    found = read(npz(tmp_path, train=train, test=train, test_labels=np.arange(6))).grey
    assert found.levels == levels
    assert found.train.dtype == np.uint8
    np.testing.assert_array_equal(found.train, bytes_.reshape(6, 15))


def test_the_white_byte_may_be_told(tmp_path: Path) -> None:
    few = {"train": TRAIN // 16, "test": TEST // 16}
    assert read(npz(tmp_path, **few, levels=16)).grey.levels == 16
    floats = {"train": TRAIN / 255, "test": TEST / 255}
    assert read(npz(tmp_path, **floats, levels=16)).grey.levels == 16


def test_without_labels_all_are_of_one_class(tmp_path: Path) -> None:
    found = read(npz(tmp_path, train_labels=None, test_labels=None)).grey
    assert (found.train_labels.tolist(), found.test_labels.tolist()) == ([0] * 6, [0] * 4)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"train": None}, "has no array 'train'; allowed: train and test"),
        ({"test": TEST.reshape(4, 15)}, r"has test of shape [4, 15]; allowed: [images, height"),
        ({"test": TEST[:1]}, "has test of shape [1, 3, 5]"),
        ({"test": TEST[:, :, :0]}, "has test of shape [4, 3, 0]"),
        ({"test": TEST[:, :2]}, "has images of (3, 5) to train on, of (2, 5) to test"),
        ({"train": TRAIN.astype(int)}, "has train of int64; allowed: uint8, booleans, floats"),
        ({"train": TRAIN.astype(float)}, "has train outside [0, 1]; allowed: floats in it"),
        ({"train": np.full((6, 3, 5), np.nan)}, "has train outside [0, 1]"),
        ({"train": np.array([[["a"]]] * 6)}, "has train of <U1; allowed: uint8"),
        ({"levels": 16}, "has levels 16; allowed: an integer from the largest pixel to 255"),
        ({"levels": 256}, "has levels 256"),
        ({"levels": [1, 2]}, "has levels [1, 2]"),
        ({"train_labels": None}, "train_labels of none; allowed: one label an image"),
        ({"test_labels": np.arange(5)}, "test_labels of shape [5]; allowed: one label an image"),
        ({"test_labels": np.arange(4) - 1}, "has test_labels beyond 0–255"),
        ({"test_labels": np.arange(4) + 0.5}, "has test_labels of float64; allowed: integers in 0"),
        ({"test": np.array([None, {}])}, "Object arrays cannot be loaded"),
    ],
)
def test_what_a_file_may_not_hold_is_one_line(
    changed: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    assert fault in told(npz(tmp_path, **changed))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("own.npz", b"", "is no whole .npz; allowed: an archive that numpy.savez wrote"),
        ("own.npz", b"PK no archive", "is no whole .npz"),
        ("own.txt", b"text", "is no *.npz and no folder; allowed: one of the two"),
    ],
)
def test_a_file_that_is_none_is_one_line(
    name: str, content: bytes, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert fault in told(str(path))


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = Path(npz(tmp_path))
    path.write_bytes(path.read_bytes()[:-40])
    assert "is no whole .npz" in told(str(path))


def test_a_file_that_is_encrypted_is_one_line(tmp_path: Path) -> None:
    path = Path(npz(tmp_path))
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # of each file and its entry
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + flags] |= 1
    path.write_bytes(content)
    assert "'train.npy' is encrypted, password required" in told(str(path))


def test_nothing_there_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in told(str(tmp_path / "none.npz"))
    assert "cannot be read: No such file or directory" in told(str(tmp_path / "none"))
    assert "lacks train-images-idx3-ubyte; allowed: it, or with .gz" in told(str(tmp_path))
    assert told(5).endswith("5 is not allowed; allowed: text in quotes")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "holds t10k-images-idx3-ubyte, which"),
        (idx(TEST)[:-1], "which is truncated or corrupt"),
        (idx(TEST) + b"0", "which is truncated or corrupt"),
        (b"\0\0\x0d\3" + idx(TEST)[4:], "which is no IDX file of bytes"),
        (idx(TEST[0]), "which is no IDX file of bytes"),
    ],
)
def test_a_file_of_a_folder_that_is_no_idx_is_one_line(
    content: bytes, fault: str, tmp_path: Path
) -> None:
    folder_of(tmp_path)
    (tmp_path / IDX[2]).write_bytes(content)
    message = told(str(tmp_path))
    assert fault in message or (content == b"" and "mmap" in message)


def test_a_damaged_packed_file_is_one_line(tmp_path: Path) -> None:
    folder_of(tmp_path, lambda content: gzip.compress(content)[:-9], ".gz")
    told(str(tmp_path))


def test_a_run_names_its_images_and_refuses_others(tmp_path: Path) -> None:
    path = npz(tmp_path)
    known = described({"data.path": path, "depth": 3})
    assert known["depth"] == 3
    config = DataConfig(**{name[5:]: v for name, v in known.items() if name.startswith("data.")})
    assert config.name == "own"
    assert config.dataset[:4] == (6, 4, 3, 5)
    loaded = data.load(config, tmp_path)
    assert loaded.sha256 == config.sha256
    np.testing.assert_array_equal(loaded.test, TEST.reshape(4, 15))
    data.require_images(config, tmp_path)
    npz(tmp_path, train=TRAIN[::-1])
    with pytest.raises(ValueError, match=r"^data.path: '.*own.npz' has changed; allowed: what it"):
        data.require_images(config, tmp_path)
