"""bench/throughput/best_batch.py: the search ends where a device saturates, within its memory."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
import torch

from bench.throughput import best_batch as batches
from bench.throughput.best_batch import best_batch
from bench.throughput.tasks import Task, Work, tasks
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images, load

INFERENCE, TRAINING = Task("inference", "module"), Task("train_step", "module")
IMAGES = load(DataConfig("digits"), Path())
RUN = RunConfig(ModelConfig(64, 12, 3, 2), TrainConfig(), DataConfig("digits"))

Device = Callable[[Callable[[int], float]], list[int]]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device with given images per second at each batch size; it remembers what was tried."""
    tried: list[int] = []

    def install(rate: Callable[[int], float]) -> list[int]:
        def of(task: Task, run: RunConfig, images: Images, device: str, size: int) -> float:
            assert task.engine == "module"
            tried.append(size)
            return rate(size)

        monkeypatch.setattr(batches, "_rate", of)
        return tried

    return install


def test_the_search_stops_where_doubling_gains_less_than_five_per_cent(device: Device) -> None:
    tried = device(lambda size: min(size, 512) + size / 100)  # saturated at 512, then +1 % or less
    assert best_batch(INFERENCE, RUN, IMAGES, "cpu") == 512
    assert tried == [64, 128, 256, 512, 1024, 2048]


def test_one_slow_moment_does_not_end_the_search(device: Device) -> None:
    device(lambda size: 1.0 if size == 128 else min(size, 512))
    assert best_batch(INFERENCE, RUN, IMAGES, "cpu") == 512


def test_a_device_that_never_gains_keeps_the_runs_own_size(device: Device) -> None:
    tried = device(lambda size: 1 / size)
    assert best_batch(INFERENCE, RUN, IMAGES, "cpu") == 64
    assert tried == [64, 128, 256]


def test_activations_stay_within_the_memory(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "CPU_BYTES", 4 * 10 * 64 * 500)  # 500 images of 64 pixels
    tried = device(float)
    assert best_batch(TRAINING, RUN, IMAGES, "cpu") == 256
    samples = replace(RUN.train, objective="iwae", importance_samples=5)
    assert best_batch(TRAINING, replace(RUN, train=samples), IMAGES, "cpu") == 64
    assert tried == [64, 128, 256, 64]


def test_a_device_out_of_memory_keeps_what_fitted(device: Device) -> None:
    def rate(size: int) -> float:
        if size > 128:
            raise torch.OutOfMemoryError("no room")
        return size

    device(rate)
    assert best_batch(INFERENCE, RUN, IMAGES, "cpu") == 128


def test_what_would_take_ten_times_as_long_as_the_runs_own_size_is_not_tried(
    device: Device,
) -> None:
    tried = device(lambda size: size**0.1)  # gains 7 % with every doubling, for ever
    assert best_batch(INFERENCE, RUN, IMAGES, "cpu") == 512
    assert tried == [64, 128, 256, 512]  # 1024 would take 12 times as long as 64


def test_where_the_engine_traces_the_plain_module_is_searched(device: Device) -> None:
    device(lambda size: min(size, 512))
    assert best_batch(Task("train_step", "traced"), RUN, IMAGES, "cpu") == 512


def test_a_rate_is_of_all_calls_of_the_fastest_try(monkeypatch: pytest.MonkeyPatch) -> None:
    a_call = cycle((1e-3, 2e-3))
    monkeypatch.setattr(batches, "build", lambda *given: Work(lambda: None, 64))
    monkeypatch.setattr(batches, "seconds", lambda call, calls, device: calls * next(a_call))
    assert batches._rate(INFERENCE, RUN, IMAGES, "cpu", 64) == pytest.approx(64_000)


def test_a_real_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SECONDS_PER_TRY", 1e-4)
    monkeypatch.setattr(batches, "CPU_BYTES", 4 * 10 * 64 * 300)
    for task in tasks(RUN, "cpu"):
        assert best_batch(task, RUN, IMAGES, "cpu") in (64, 128, 256)
