"""hvae/data/images.py, on the bundled digits and on small IDX files written here: no network."""

import gzip
import hashlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from hvae.config import BINARIZATIONS, DataConfig
from hvae.data import download
from hvae.data import images as data
from hvae.data import mnist as files
from hvae.datasets import DATASETS
from hvae.streams import stream

FAMILY = sorted(name for name, known in DATASETS.items() if not known.is_bundled)
TRAIN, TEST = 7, 3  # images in the small folders
MNIST_SHA256 = "fa92ffcd179aa40fcd02c2609ff4b0418e903d9b682e08067e6db2cfdf237378"
DIGITS_SHA256 = "079321ea2cbb1b8cb7a54a0ef9249e5c76c27ebac857efed9af291c2ced5818b"


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX file of an array of bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_family(name: str, folder: Path) -> dict[str, np.ndarray]:
    """A small dataset in torchvision's layout; its arrays as stored."""
    random = np.random.default_rng(0)
    stored = {}
    for count, part in zip((TRAIN, TEST), files.files_of(name, folder), strict=True):
        for path, item in part.items():
            top = 256 if item else 10
            stored[path.name] = random.integers(top, size=(count, *item), dtype=np.uint8)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(idx_bytes(stored[path.name]))
    return stored


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A data folder with a small MNIST."""
    write_family("mnist", tmp_path)
    return tmp_path


def raw(folder: Path, name: str = "train-images-idx3-ubyte") -> Path:
    return folder / "MNIST" / "raw" / name


def fault(folder: Path, name: str = "mnist") -> str:
    """The one line that `require` raises; `load` must raise the same."""
    with pytest.raises(ValueError, match=name) as required:
        files.require(name, folder)
    with pytest.raises(ValueError, match=name) as loaded:
        data.load(DataConfig(name), folder)
    assert str(loaded.value) == str(required.value)
    assert "\n" not in str(required.value)
    return str(required.value)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_option_comes_before_the_variable_and_the_variable_before_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "variable"))
    assert files.data_dir(tmp_path / "option") == tmp_path / "option"
    assert files.data_dir(None) == tmp_path / "variable"
    monkeypatch.setenv("HVAE_DATA", "~/variable")
    assert files.data_dir(None) == Path.home() / "variable"
    monkeypatch.setenv("HVAE_DATA", "")
    assert files.data_dir(None).name == "hvae"
    monkeypatch.delenv("HVAE_DATA")
    assert files.data_dir(None).name == "hvae"


def test_a_user_without_a_home_has_a_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("HVAE_DATA", raising=False)
    monkeypatch.setattr(files.platformdirs, "user_cache_path", refuse)
    assert files.data_dir(None) == Path(tempfile.gettempdir()) / "hvae"


def test_every_dataset_of_the_configuration_can_be_loaded() -> None:
    assert [name for name in DATASETS if name not in FAMILY] == ["digits"]
    assert {DATASETS[name].pixels for name in FAMILY} == {int(np.prod(files.IMAGE))}


@pytest.mark.parametrize("check", [files.require, download.fetch, data.load_grey])
def test_an_unknown_dataset_is_named_with_what_is_allowed(
    check: Callable[[str, Path], object], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"'cifar' is not allowed; allowed: digits, mnist"):
        check("cifar", tmp_path)


def test_digits_are_the_fixed_stratified_split(tmp_path: Path) -> None:
    grey = data.load_grey("digits", tmp_path)
    assert (grey.train.shape, grey.test.shape, grey.levels) == ((1437, 64), (360, 64), 16)
    assert {array.dtype for array in grey[1:]} == {np.dtype(np.uint8)}
    assert grey.train.max() == grey.test.max() == 16
    assert data.sha256(grey) == DIGITS_SHA256  # golden: another split is another dataset
    whole = np.bincount(grey.train_labels) + np.bincount(grey.test_labels)
    assert np.abs(np.bincount(grey.test_labels) - whole * 360 / 1797).max() < 1


def test_digits_need_no_files_and_no_fetching(tmp_path: Path) -> None:
    files.require("digits", tmp_path / "absent")
    assert download.fetch("digits", tmp_path / "absent") == tmp_path / "absent"


@pytest.mark.parametrize("name", FAMILY)
def test_a_family_member_is_read_as_torchvision_reads_it(name: str, tmp_path: Path) -> None:
    write_family(name, tmp_path)
    grey = data.load_grey(name, tmp_path)
    family = DATASETS[name]
    options = {"split": "digits"} if name == "emnist-digits" else {}
    for is_train, images, labels in ((True, *grey[1:3]), (False, *grey[3:5])):
        theirs = getattr(download.import_torchvision().datasets, family.folder)(
            tmp_path, train=is_train, **options
        )
        upright = theirs.data.mT if name == "emnist-digits" else theirs.data
        assert np.array_equal(images, upright.reshape(len(upright), -1).numpy())
        assert np.array_equal(labels, theirs.targets.numpy())
    assert grey.levels == 255


def test_emnist_is_put_upright(tmp_path: Path) -> None:
    stored = write_family("emnist-digits", tmp_path)
    image = data.load_grey("emnist-digits", tmp_path).train[0].reshape(files.IMAGE)
    assert np.array_equal(image, stored["emnist-digits-train-images-idx3-ubyte"][0].T)


def test_torch_takes_the_mapped_arrays_and_writing_leaves_the_files_alone(mnist: Path) -> None:
    before = raw(mnist).read_bytes()
    torch.from_numpy(data.load_grey("mnist", mnist).train).zero_()  # a warning would be an error
    assert raw(mnist).read_bytes() == before


@pytest.mark.parametrize("changed", ["train_labels", "test", "levels"])
def test_the_checksum_covers_every_array_and_the_levels(changed: str, mnist: Path) -> None:
    grey = data.load_grey("mnist", mnist)
    other = getattr(grey, changed) ^ 1
    assert data.sha256(grey) == data.sha256(data.load_grey("mnist", mnist))
    assert data.sha256(grey) != data.sha256(grey._replace(**{changed: other}))


def test_each_binarisation_gives_the_documented_images(mnist: Path) -> None:
    grey = data.load_grey("mnist", mnist)
    none, static, dynamic = (data.load(DataConfig("mnist", b), mnist) for b in BINARIZATIONS)
    assert np.array_equal(none.train, grey.train)
    assert np.array_equal(none.test, grey.test)
    assert (none.train_levels, none.test_levels) == (255, 255)
    assert set(np.unique(static.train)) == {0, 1}
    assert np.array_equal(static.test, static.test_binary)
    assert (static.train_levels, static.test_levels) == (1, 1)
    assert np.array_equal(dynamic.train, grey.train)
    assert np.array_equal(dynamic.test, static.test)
    assert (dynamic.train_levels, dynamic.test_levels) == (255, 1)
    for images in (none, static, dynamic):
        assert images.sha256 == data.sha256(grey)
        assert np.array_equal(images.test_binary, none.test_binary)
        assert images.train.dtype == images.test.dtype == images.test_binary.dtype == np.uint8


def test_the_fixed_draws_repeat_and_come_from_streams_of_their_own(tmp_path: Path) -> None:
    first, again = (data.load(DataConfig("digits", "static"), tmp_path) for _ in range(2))
    grey = data.load_grey("digits", tmp_path)
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.train, data.binarize(grey.train, 16, stream("binarize", 0)))
    assert np.array_equal(first.test, data.binarize(grey.test, 16, stream("binarize", 1)))


@pytest.mark.parametrize("levels", [16, 255])
def test_a_pixel_is_lit_as_often_as_it_is_grey(levels: int) -> None:
    draws = 4000
    grey = np.tile(np.arange(levels + 1, dtype=np.uint8), (draws, 1))
    binary = data.binarize(grey, levels, stream("test"))
    mean = np.arange(levels + 1) / levels
    assert (binary[:, 0] == 0).all()
    assert (binary[:, -1] == 1).all()
    error = np.sqrt(mean * (1 - mean) / draws)
    # 5 standard errors for each of up to 254 inner pixels: missed by chance in 2 of 10,000 draws
    assert (np.abs(binary.mean(axis=0) - mean)[1:-1] < 5 * error[1:-1]).all()


def test_binary_images_stay_as_they_are() -> None:
    binary = np.eye(9, dtype=np.uint8)
    assert np.array_equal(data.binarize(binary, 1, stream("test")), binary)


@pytest.mark.parametrize("name", FAMILY)
def test_a_missing_file_is_named_with_the_two_ways_to_get_it(name: str, tmp_path: Path) -> None:
    write_family(name, tmp_path)
    for part in files.files_of(name, tmp_path):
        for path in part:
            content = path.read_bytes()
            path.unlink()
            assert fault(tmp_path, name) == (
                f"{name}: {path} is missing; get it with "
                f"`hvae data fetch {name} --data-dir {tmp_path}`, or point "
                f"--data-dir (or HVAE_DATA) at a folder that holds {path.parent.parent.name}/raw"
            )
            path.write_bytes(content)
    files.require(name, tmp_path)


def test_a_packed_file_beside_a_missing_one_is_pointed_out(mnist: Path) -> None:
    raw(mnist).rename(raw(mnist, "train-images-idx3-ubyte.gz"))
    assert "is missing (train-images-idx3-ubyte.gz is there: fetching unpacks it)" in fault(mnist)


def rewritten_header(content: bytes, *fields: int) -> bytes:
    return struct.pack(f">{len(fields)}I", *fields) + content[4 * len(fields) :]


DAMAGE = {
    "truncated": (lambda c: c[:-1], "is truncated: 5,503 bytes, expected 5,504"),
    "cut within the header": (lambda c: c[:9], "is truncated: 9 bytes, its header alone has 16"),
    "empty": (lambda c: b"", "is truncated: 0 bytes, its header alone has 16"),
    "longer": (lambda c: c + b"x", "is corrupt: 5,505 bytes, expected 5,504"),
    "zeroed": (
        lambda c: bytes(len(c)),
        "is corrupt: it begins with 0x00000000, expected 0x00000803",
    ),
    "still packed": (gzip.compress, "is corrupt: it begins with 0x1f8b08"),
    "of another shape": (
        lambda c: rewritten_header(c, 0x803, 28, 7, 28),
        "is corrupt: it holds 28 items of shape [7, 28], expected [28, 28]",
    ),
    "without images": (
        lambda c: rewritten_header(c[:16], 0x803, 0),
        "is corrupt: it holds 0 items of shape [28, 28], expected [28, 28]",
    ),
    "of fewer images": (
        lambda c: rewritten_header(c[: 16 + 6 * 784], 0x803, 6),
        "does not fit: 6 images, 7 labels",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_what_is_wrong(damage: str, mnist: Path) -> None:
    spoil, expected = DAMAGE[damage]
    raw(mnist).write_bytes(spoil(raw(mnist).read_bytes()))
    assert fault(mnist).startswith(f"mnist: {raw(mnist)} {expected}")


def test_a_damaged_label_file_is_named(mnist: Path) -> None:
    labels = raw(mnist, "t10k-labels-idx1-ubyte")
    labels.write_bytes(labels.read_bytes()[:-1])
    assert fault(mnist).startswith(f"mnist: {labels} is truncated: 10 bytes, expected 11")


def test_a_data_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be read: Not a directory" in fault(tmp_path / "file")


def serve_archives(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack the small MNIST as a finished download would leave it; no network behind it."""
    resources = []
    for part in files.files_of("mnist", folder):
        for path in part:
            packed = gzip.compress(path.read_bytes())
            path.with_name(f"{path.name}.gz").write_bytes(packed)
            resources.append((f"{path.name}.gz", hashlib.md5(packed).hexdigest()))
    dataset = download.import_torchvision().datasets.MNIST
    monkeypatch.setattr(dataset, "resources", resources)
    monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:9/"])  # refuses at once


def test_a_complete_dataset_is_not_fetched_again(
    mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download, "import_torchvision", lambda: pytest.fail("torchvision was imported")
    )
    assert download.fetch("mnist", mnist) == mnist


def test_fetching_unpacks_what_was_downloaded_and_keeps_the_damaged_file(
    mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_archives(mnist, monkeypatch)
    whole = raw(mnist).read_bytes()
    raw(mnist).write_bytes(whole[:-1])
    assert download.fetch("mnist", mnist) == mnist
    assert raw(mnist).read_bytes() == whole
    assert raw(mnist, "train-images-idx3-ubyte.damaged").read_bytes() == whole[:-1]
    assert socket.getdefaulttimeout() is None


def test_no_network_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_family("mnist", tmp_path / "elsewhere")
    serve_archives(tmp_path / "elsewhere", monkeypatch)
    with pytest.raises(ValueError, match="cannot be fetched") as caught:
        download.fetch("mnist", tmp_path / "empty")
    line = str(caught.value)
    assert "\n" not in line
    assert "refused" in line
    assert line.endswith("point --data-dir (or HVAE_DATA) at a folder that holds MNIST/raw")


@pytest.mark.parametrize(
    "error", [OSError("disk full"), EOFError("disk full"), TimeoutError("disk full")]
)
def test_what_torchvision_lets_through_becomes_a_value_error(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    fake = SimpleNamespace(datasets=SimpleNamespace(EMNIST=broken))
    monkeypatch.setattr(download, "import_torchvision", lambda: fake)
    with pytest.raises(ValueError, match=r"emnist-digits: cannot be fetched .*: disk full; "):
        download.fetch("emnist-digits", tmp_path)


def test_emnist_is_fetched_for_training_and_test_with_a_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def dataset(folder: Path, **options: object) -> None:
        calls.append((options, socket.getdefaulttimeout()))
        write_family("emnist-digits", folder)

    fake = SimpleNamespace(datasets=SimpleNamespace(EMNIST=dataset))
    monkeypatch.setattr(download, "import_torchvision", lambda: fake)
    download.fetch("emnist-digits", tmp_path)
    assert calls == [
        ({"train": is_train, "download": True, "split": "digits"}, download.TIMEOUT_SECONDS)
        for is_train in (True, False)
    ]


def test_a_download_that_leaves_files_missing_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(datasets=SimpleNamespace(KMNIST=lambda *_, **__: None))
    monkeypatch.setattr(download, "import_torchvision", lambda: fake)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is missing"):
        download.fetch("kmnist", tmp_path)


def test_checking_and_reading_import_neither_torch_nor_torchvision(mnist: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from hvae.data import download, images as data, mnist as files
files.require("mnist", Path({str(mnist)!r}))
download.fetch("mnist", Path({str(mnist)!r}))
data.sha256(data.load_grey("mnist", Path({str(mnist)!r})))
print(sorted({{"torch", "torchvision", "sklearn"}} & set(sys.modules)))
"""
    assert run_python(code) == "[]"


def test_torchvision_imports_beside_any_torch() -> None:
    torchvision = download.import_torchvision()
    assert download.import_torchvision() is torchvision
    assert torchvision.datasets.MNIST.__name__ == "MNIST"


class FakeImport:
    """`import torchvision`, stopping at each of the operators until torch knows it."""

    def __init__(self, *operators: str) -> None:
        self.operators = operators
        self.tries = 0

    def __call__(self, name: str) -> ModuleType:
        assert name == "torchvision"
        assert "torchvision.half" not in sys.modules
        self.tries += 1
        for operator in self.operators:
            if not hasattr(torch.ops.torchvision, operator):
                sys.modules["torchvision.half"] = ModuleType("torchvision.half")
                raise RuntimeError(f"operator torchvision::{operator} does not exist")
        return ModuleType(name)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[str], object]], None]]:
    """Replaces the import of torchvision; puts back whatever is declared or forgotten meanwhile."""
    monkeypatch.setattr(download, "_declared", {})
    kept = {m: sys.modules[m] for m in list(sys.modules) if m.split(".")[0] == "torchvision"}
    yield lambda fake: monkeypatch.setattr(
        download, "importlib", SimpleNamespace(import_module=fake)
    )
    for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[module]
    sys.modules.update(kept)


def test_any_missing_operators_are_declared_one_after_the_other(install: Callable) -> None:
    fake = FakeImport("absent_one", "absent_two", "absent_three")
    install(fake)
    assert download.import_torchvision().__name__ == "torchvision"
    assert fake.tries == 4
    assert list(download._declared) == ["absent_one", "absent_two", "absent_three"]


def test_nothing_is_declared_where_the_import_works(install: Callable) -> None:
    install(FakeImport())
    download.import_torchvision()
    assert download._declared == {}


def test_the_tries_are_bounded(install: Callable) -> None:
    fake = FakeImport(*(f"endless_{i}" for i in range(100)))
    install(fake)
    with pytest.raises(RuntimeError, match="endless_16 does not exist"):
        download.import_torchvision()
    assert fake.tries == download.OPERATORS_AT_MOST + 1


def test_an_operator_that_stays_missing_is_not_declared_again(install: Callable) -> None:
    tries = []

    def stubborn(name: str) -> None:
        tries.append(name)
        raise RuntimeError("operator torchvision::stubborn does not exist")

    install(stubborn)
    with pytest.raises(RuntimeError, match="stubborn does not exist"):
        download.import_torchvision()
    assert len(tries) == 2


@pytest.mark.parametrize(
    "error", [RuntimeError("operator aten::nms does not exist"), ImportError("no torchvision")]
)
def test_other_import_errors_pass_through(error: Exception, install: Callable) -> None:
    def broken(name: str) -> None:
        raise error

    install(broken)
    with pytest.raises(type(error)) as caught:
        download.import_torchvision()
    assert caught.value is error
    assert download._declared == {}


@pytest.mark.mnist
def test_real_mnist_is_whole() -> None:
    folder = files.data_dir(None)
    if not os.environ.get("HVAE_DATA"):
        pytest.skip("needs real MNIST: set HVAE_DATA to a folder that holds MNIST/raw")
    grey = data.load_grey("mnist", folder)
    assert (grey.train.shape, grey.test.shape) == ((60000, 784), (10000, 784))
    assert data.sha256(grey) == MNIST_SHA256
    images = data.load(DataConfig("mnist", "static"), folder)
    # 7.84 million Bernoulli pixels: a standard error below 2e-4
    assert images.test_binary.mean() == pytest.approx(grey.test.mean() / 255, abs=1e-3)
