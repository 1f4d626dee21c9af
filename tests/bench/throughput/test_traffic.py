"""bench/throughput/traffic.py: two batches say what any batch moves."""

import pytest

from bench.throughput.tasks import TASKS
from bench.throughput.traffic import _counted, moved_bytes
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.training import traced


@pytest.mark.parametrize("task", TASKS)
def test_the_traffic_is_that_of_parameters_and_of_so_many_images(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "make_fx", lambda step: lambda *arguments: step)
    run = RunConfig(ModelConfig(64, 12, 3, 2), TrainConfig(), DataConfig("digits"))
    assert moved_bytes(task, run, 40) == _counted(task, run, 40) > 0
