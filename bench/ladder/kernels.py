"""What a captured step of the documented grid consists of: `python -m bench.ladder.kernels`, on a
machine with an NVIDIA GPU. Its 200 models, as one pack, on noise: which kernels take the time.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import product

import torch
from torch.profiler import ProfilerActivity, profile

from bench.throughput.clock import seconds
from bench.throughput.tasks import dark_noise
from hvae.config import RunConfig
from hvae.settings import override
from hvae.training.draws import Draws
from hvae.training.traced import Traced

AXES = {"depth": (1, 2, 3, 4), "loss": ("bce", "mse"), "latent": (2, 5, 10, 20, 50)}
SEEDS = 5
STEPS = 10
KINDS = {  # by what the name of a kernel holds
    "gemm": "matrix products",
    "multi_tensor": "Adam",
    "reduce": "sums",
    "elementwise": "operators by element",
}
OTHER = "copies and gathers"


def main() -> None:
    """Print the time of a step, and the kernels in it by kind."""
    if not torch.cuda.is_available():
        sys.exit("kernels: no NVIDIA GPU that torch finds")
    runs, device = documented_grid(), torch.device("cuda")
    images = dark_noise(runs[0].model.input_dim, runs[0].train.batch_size)
    engine = Traced(runs, device, torch.float32)
    engine.epoch(Draws(runs, images, device), 1, 1.0)  # captures
    ((graph, _),) = engine.step.graphs.values()  # type: ignore[union-attr]
    taken = seconds(graph.replay, STEPS, "cuda") / STEPS
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiled:
        for _ in range(STEPS):
            graph.replay()
        torch.cuda.synchronize()
    kernels = [
        (event.name, event.device_time_total / STEPS)
        for event in profiled.events()
        if str(event.device_type).endswith("CUDA")  # not what the host did meanwhile
    ]
    sys.stdout.write("\n".join(lines_by_kind(taken, len(runs), kernels, STEPS)) + "\n")


def documented_grid() -> list[RunConfig]:
    """The runs of the study `standard`, which bench knows nothing of; a test holds them equal."""
    cells = [dict(zip(AXES, values, strict=True)) for values in product(*AXES.values())]
    return [
        override(RunConfig(), {**cell, "seed": seed}) for seed in range(SEEDS) for cell in cells
    ]


def lines_by_kind(
    taken: float, models: int, kernels: Iterable[tuple[str, float]], steps: int
) -> list[str]:
    """A step's seconds, and the kernels of so many steps by kind, each with its microseconds' part
    of a step."""
    micros, launched = defaultdict[str, float](float), Counter[str]()
    for name, part in kernels:
        kind = next((KINDS[mark] for mark in KINDS if mark in name), OTHER)
        micros[kind] += part
        launched[kind] += 1
    total = sum(micros.values())
    lines = [
        f"{models} models: {1e3 * taken:.2f} ms a step, {models / taken:,.0f} model-steps/s; "
        f"{launched.total() / steps:,.0f} kernels, {total / 1e3:.2f} ms one by one"
    ]
    return lines + [
        f"{kind:<22}{launched[kind] / steps:6.0f} kernels{part / 1e3:8.2f} ms{part / total:6.0%}"
        for kind, part in sorted(micros.items(), key=lambda item: -item[1])
    ]


if __name__ == "__main__":
    main()
