"""Exact counts: against closed forms, against each other, and what each of them sees."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.gate.side import counts, workloads
from bench.gate.side.counts import UnstableCount, count, require_stable
from bench.gate.side.harness import ADVISORY
from bench.gate.side.workloads import REFERENCE, Workload, pack
from hvae.closed_form import flops_per_image, parameter_count
from hvae.config import CERTIFIED_IMAGES
from hvae.evaluation import evaluate as evaluation
from hvae.evaluation import nll

pytestmark = pytest.mark.usefixtures("counted_apart")
FLOAT = 4  # bytes


@pytest.fixture(scope="module")
def train_step() -> dict[str, int]:
    return count("train_step", "cpu")


def exact(found: dict[str, int]) -> dict[str, int]:
    return {metric: value for metric, value in found.items() if metric not in ADVISORY}


def counted(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> dict[str, int]:
    monkeypatch.setattr(counts, "build", lambda name, device: Workload(call, call, 0))
    return count("given", "cpu")


def test_of_a_gpu_only_the_workload_is_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What launches no kernel would fail there."""
    profiled: list[Any] = []

    def call() -> Any:
        return torch.zeros(1)

    monkeypatch.setattr(counts, "build", lambda name, device: Workload(call, call, 0))
    monkeypatch.setattr(counts, "_cuda", lambda call: profiled.append(call) or {"launches": 1})
    assert count("given", "cuda")["launches"] == 1
    assert profiled == [call, call]


def test_a_training_step_has_the_flops_and_parameters_of_the_closed_forms(
    train_step: dict[str, int],
) -> None:
    images = REFERENCE.train.batch_size
    assert train_step["flops"] == images * flops_per_image(REFERENCE)
    assert train_step["parameters"] == parameter_count(REFERENCE.model) == 174_084
    assert train_step["operators.aten._fused_adam_.default"] == 1
    assert train_step["host_syncs"] == train_step["retained_bytes"] == 0
    assert train_step["python_calls"] > 0


@pytest.mark.usefixtures("untraced")
def test_a_pack_counts_as_its_widest_members() -> None:
    found = count("train_pack", "cpu")
    images, members = REFERENCE.train.batch_size, len(pack())
    assert found["flops"] == members * images * flops_per_image(REFERENCE)
    assert found["parameters"] == members * parameter_count(REFERENCE.model)


def test_sums_over_pixels_are_counted_for_both_likelihoods() -> None:
    rows = workloads.DRAWS * workloads.DRAWN_IMAGES
    products = REFERENCE.model.hidden_dim * REFERENCE.model.input_dim
    assert count("pixel_sums", "cpu")["flops"] == 2 * (2 * rows * products)


def test_an_evaluation_certifies_few_images_and_later_ones_as_many_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certified, real = [], nll.drawn_images

    def note(*given: Any) -> Any:
        target, z = real(*given)
        certified.append(len(z))
        return target, z

    monkeypatch.setattr(nll, "drawn_images", note)
    workloads.evaluation("cpu").call()
    assert certified == [workloads.CERTIFIED_IMAGES]
    assert nll.CERTIFIED_IMAGES == evaluation.CERTIFIED_IMAGES == CERTIFIED_IMAGES


def test_counts_are_the_same_in_another_process(
    train_step: dict[str, int], run_python: Callable[..., str]
) -> None:
    code = (
        "from hvae.processes import one_thread; one_thread()\n"
        "import json; from bench.gate.side.counts import count; "
        "count('pixel_sums', 'cpu')\n"  # stable as the first that a process counts
        "print(json.dumps(count('train_step', 'cpu')))"
    )
    assert exact(json.loads(run_python(code))) == exact(train_step)


def test_a_retained_tensor_is_seen_though_no_operator_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: dict[str, torch.Tensor] = {}
    x = torch.ones(100)

    def keeps() -> None:
        kept["last"] = x + 1

    assert counted(monkeypatch, lambda: x + 1)["retained_bytes"] == 0
    assert counted(monkeypatch, keeps)["retained_bytes"] == 100 * FLOAT


def test_a_growing_list_is_seen_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    x = torch.ones(100)
    assert counted(monkeypatch, lambda: kept.append(x + 1))["retained_bytes"] == 100 * FLOAT


def test_item_is_a_host_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3)
    assert counted(monkeypatch, lambda: x.sum())["host_syncs"] == 0
    assert counted(monkeypatch, lambda: x.sum().item())["host_syncs"] == 1
    assert counted(monkeypatch, lambda: bool(x.any()))["host_syncs"] == 1


def test_flops_are_those_of_products_elementwise_work_is_in_the_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = torch.ones(5, 7), torch.ones(7, 3)
    found = counted(monkeypatch, lambda: (a @ b).exp())
    assert found["flops"] == 2 * 5 * 7 * 3
    assert (found["operators.aten.mm.default"], found["operators.aten.exp.default"]) == (1, 1)


def test_a_count_that_two_equal_calls_do_not_agree_on_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[torch.Tensor] = []

    def grows() -> None:
        calls.append(torch.ones(3))
        for _ in calls:
            calls[0] + 1

    with pytest.raises(UnstableCount, match=r"given\.operators\.aten\.add\.Tensor is unstable: "):
        counted(monkeypatch, grows)


def test_a_count_that_is_there_once_only_is_unstable() -> None:
    with pytest.raises(UnstableCount, match=r"train_step\.flops is unstable: 2, then None"):
        require_stable("train_step", {"flops": 2}, {})


@pytest.mark.cuda
def test_on_cuda_kernels_and_the_allocators_peak_are_counted() -> None:
    found = count("train_step", "cuda")
    assert found["kernel_launches"] > 0
    assert found["max_memory_allocated"] > 0
    assert exact(count("train_step", "cuda")) == exact(found)
