"""THE table of datasets."""

from typing import NamedTuple


class Dataset(NamedTuple):
    """Sizes of a dataset, and where torchvision keeps it: its class and folder (none: it comes with
    scikit-learn), the names of its files, and what it downloads for a file {}."""

    pixels: int
    training_images: int
    test_images: int
    folder: str = ""
    train: str = "train"
    test: str = "t10k"
    archive: str = "{}.gz"

    @property
    def is_bundled(self) -> bool:
        return not self.folder


DATASETS = {
    "digits": Dataset(64, 1437, 360),
    "mnist": Dataset(784, 60_000, 10_000, "MNIST"),
    "fashion-mnist": Dataset(784, 60_000, 10_000, "FashionMNIST"),
    "kmnist": Dataset(784, 60_000, 10_000, "KMNIST"),
    "emnist-digits": Dataset(
        *(784, 240_000, 40_000, "EMNIST", "emnist-digits-train", "emnist-digits-test", "gzip.zip")
    ),
}
