"""bench/throughput/traffic.py: two batches say what any batch moves."""

from pathlib import Path

import pytest

from bench.throughput.traffic import _counted, moved_bytes
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import load


@pytest.mark.parametrize("name", ["train_step", "inference", "sampling"])
def test_the_traffic_is_that_of_parameters_and_of_so_many_images(name: str) -> None:
    run = RunConfig(ModelConfig(64, 12, 3, 2), TrainConfig(), DataConfig("digits"))
    images = load(run.data, Path())
    assert moved_bytes(name, run, images, 40) == _counted(name, run, images, 40) > 0
