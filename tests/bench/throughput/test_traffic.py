"""bench/throughput/traffic.py: bytes read and written, by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.throughput.tasks import TASKS
from bench.throughput.traffic import Counter, _count, traffic
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.training import traced


@pytest.mark.parametrize(
    ("operation", "floats"),
    [
        (lambda a: a + 1, 100 + 100),
        (lambda a: a @ a, 100 + 100 + 100),
        (lambda a: a.T, 0),
        (lambda a: a.reshape(4, 25), 0),
        (lambda a: a.add_(1), 100 + 100),
        (lambda a: a.expand(3, 10, 10) * 2, 100 + 300),
        (lambda a: torch.stack([a, a]), 200 + 200),
    ],
)
def test_an_operator_reads_its_arguments_and_writes_its_result(
    operation: Callable[[Tensor], Tensor], floats: int
) -> None:
    a, counter = torch.ones(10, 10), Counter()
    with counter:
        operation(a)
    assert counter.bytes == 4 * floats


@pytest.mark.parametrize("task", TASKS)
def test_the_traffic_is_that_of_parameters_and_of_so_many_images(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced, "make_fx", lambda step: lambda *arguments: step)
    run = RunConfig(ModelConfig(64, 12, 3, 2), TrainConfig(), DataConfig("digits"))
    assert traffic(task, run).bytes(40) == _count(task, run, 40)
