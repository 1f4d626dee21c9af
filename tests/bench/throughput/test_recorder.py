"""bench/throughput/recorder.py: bytes read, written, alive and retained, by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.throughput.recorder import Recorder

FLOAT = 4  # bytes


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
        (lambda a: torch.add(a, 1, out=a), 200 + 100),  # named twice, written once
        (lambda a: torch._foreach_add_([a, a], 1), 200 + 200),  # returns nothing
    ],
)
def test_an_operator_reads_its_arguments_and_writes_its_result(
    operation: Callable[[Tensor], Tensor], floats: int
) -> None:
    a = torch.ones(10, 10)
    with Recorder() as recorder:
        operation(a)
    assert recorder.input_bytes + recorder.output_bytes == FLOAT * floats


def test_bytes_are_those_written_alive_at_once_and_retained() -> None:
    x = torch.ones(100)
    with Recorder() as recorder:
        y = x + 1  # 400 bytes
        z = y.reshape(10, 10).T * 2  # views cost nothing; 400 more
        del y
        w = z.sum()  # 4 bytes beside z
        z.add_(1)  # written again, not alive again
        del z
    assert recorder.output_bytes == (100 + 100 + 1 + 100) * FLOAT
    assert recorder.peak_bytes == 2 * 100 * FLOAT
    assert recorder.live_bytes() == FLOAT
    assert recorder.operators["aten.add.Tensor"] == recorder.operators["aten.add_.Tensor"] == 1
    del w
    assert recorder.live_bytes() == 0


def test_memory_that_was_there_before_is_nobodys_peak() -> None:
    x = torch.ones(100)
    with Recorder() as recorder:
        x.mul_(2)
        x.view(10, 10)
    assert recorder.peak_bytes == 0
