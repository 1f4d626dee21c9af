"""Draw a batch of images from the prior: `pytest bench/test_sampling.py`."""

from collections.abc import Callable


def test_sampling(clock: Callable[[str], None]) -> None:
    clock("sampling")
