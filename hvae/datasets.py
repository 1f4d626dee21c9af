"""THE table of datasets."""

from typing import NamedTuple


class Dataset(NamedTuple):
    """Sizes of a dataset, and where torchvision keeps it: its class and folder (none: it comes with
    scikit-learn), the names of its files, and what it downloads for a file {}."""

    training_images: int
    test_images: int
    height: int
    width: int
    folder: str = ""
    train: str = "train"
    test: str = "t10k"
    archive: str = "{}.gz"

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.height, self.width

    @property
    def is_bundled(self) -> bool:
        return not self.folder


DATASETS = {
    "digits": Dataset(1437, 360, 8, 8),
    "mnist": Dataset(60_000, 10_000, 28, 28, "MNIST"),
    "fashion-mnist": Dataset(60_000, 10_000, 28, 28, "FashionMNIST"),
    "kmnist": Dataset(60_000, 10_000, 28, 28, "KMNIST"),
    "emnist-digits": Dataset(
        *(240_000, 40_000, 28, 28, "EMNIST"),
        *("emnist-digits-train", "emnist-digits-test", "gzip.zip"),
    ),
}
