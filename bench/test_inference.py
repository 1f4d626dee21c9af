"""Encode a batch and reconstruct it: `pytest bench/test_inference.py`."""

from collections.abc import Callable


def test_inference(clock: Callable[[str], None]) -> None:
    clock("inference")
