"""One Adam step of the engine, a pack of one: `pytest bench/test_training.py`."""

from collections.abc import Callable


def test_training_step(clock: Callable[[str], None]) -> None:
    clock("train_step")
