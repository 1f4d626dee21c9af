"""What is counted and timed: the engine's training step, alone and packed, the evaluation, and its
sums over pixels, which by themselves are a third of a real one and of this one little.

Inputs are drawn at a fixed seed. Uses only what `hvae` has had for long, because it runs over the
base's sources as well. Shapes: U seeds, B batch, D pixels, S samples, T levels, L latent.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.gate.side.subject import (
    PLAIN,
    CapturedStep,
    Group,
    Images,
    certifying,
    compiled_epoch,
    evaluate,
    fastest_sums,
    initial,
    parameter_count,
    plain_sums,
    widest,
)
from bench.throughput.clock import Call
from hvae.config import RunConfig

REFERENCE = RunConfig()
DRAWS, DRAWN_IMAGES = 25, 100  # whose pixels are summed at once, as an evaluation does on a CPU
# Of an evaluation, for a call of an eighth of a second: the longer, the more the clock scatters.
SAMPLES, TEST_IMAGES, CERTIFIED_IMAGES = 100, 10, 2
TRAIN_IMAGES = 20  # of the evaluation's probe, which is not what is measured
DARK = 0.8  # of the training pixels, as in MNIST
COMPILED_IMAGES = 64 + 32  # a full batch and, as MNIST has it, a half one


class Workload(NamedTuple):
    """`call` is timed; `counted` does the same operator by operator, without a captured graph (but
    for `compiled_training`) or compiled sums."""

    call: Call
    counted: Call
    parameters: int


def build(benchmark: str, device: str) -> Workload:
    """The workload of a name of `harness.BENCHMARKS`, not yet warmed up."""
    builders: dict[str, Callable[[str], Workload]] = {
        "train_step": lambda device: training([REFERENCE], device),
        "train_pack": lambda device: training(pack(), device),
        "train_compiled": compiled_training,
        "pixel_sums": pixel_sums,
        "evaluation": evaluation,
    }
    return builders[benchmark](device)


def pack() -> list[RunConfig]:
    """Both losses, two seeds, a narrow model padded to a wide one."""
    cells = ((2, "bce", 0), (20, "bce", 1), (2, "mse", 1), (20, "mse", 0))
    return [
        replace(
            REFERENCE,
            model=replace(REFERENCE.model, latent_dim=latent),
            train=replace(REFERENCE.train, loss=loss, seed=seed),
        )
        for latent, loss, seed in cells
    ]


def training(runs: Sequence[RunConfig], device: str) -> Workload:
    """One Adam step of every run, on one batch."""
    sizes, seeds = widest(runs), sorted({run.train.seed for run in runs})
    group = Group(runs, list(range(len(runs))), sizes, seeds, torch.device(device))
    generator = torch.Generator().manual_seed(0)
    shape = (len(seeds), runs[0].train.batch_size)
    x = torch.rand(*shape, sizes.input_dim, generator=generator).to(device)  # [U, B, D]
    noise = torch.randn(*shape, 1, sizes.num_layers, sizes.latent_dim, generator=generator).to(
        device
    )  # [U, B, S, T, L]
    parameters = sum(p.numel() for p in group.parameters.values())

    def counted() -> None:
        group.step(x, noise)

    if device != "cuda":
        return Workload(counted, counted, parameters)
    captured = CapturedStep(group.step, [*group.optimizer.state, group.sums])  # as the engine does
    return Workload(lambda: captured(x, noise), counted, parameters)


def compiled_training(device: str) -> Workload:
    """An epoch of the pack over a few images as `hvae run` trains it: on a CPU with the step in C,
    where a side has it and the machine a compiler."""
    runs, images = pack(), random_images(COMPILED_IMAGES)
    call = compiled_epoch(runs, images, device)
    return Workload(call, call, sum(parameter_count(run.model) for run in runs))


def pixel_sums(device: str) -> Workload:
    """Those of a Bernoulli and of a Gaussian likelihood; counted by torch, operator by operator."""
    decoder = initial(REFERENCE).to(device).pixel_decoder
    generator = torch.Generator().manual_seed(0)
    shape = (DRAWS, DRAWN_IMAGES, REFERENCE.model.hidden_dim)
    hidden = torch.rand(*shape, generator=generator).to(device)  # [S, B, H]
    x = torch.rand(DRAWN_IMAGES, REFERENCE.model.input_dim, generator=generator).to(device)

    @torch.no_grad()
    def sum_by(sums: Callable[..., object]) -> None:
        sums(decoder, hidden, None)
        sums(decoder, hidden, x)

    parameters = sum(p.numel() for p in decoder.parameters())
    return Workload(partial(sum_by, fastest_sums), partial(sum_by, plain_sums), parameters)


def evaluation(device: str) -> Workload:
    """All test metrics of one untrained model on a few random images; counted with sums over pixels
    by torch, whose operators can be."""
    model, images = initial(REFERENCE), random_images()

    def call(**sums: Any) -> None:
        with certifying(CERTIFIED_IMAGES):
            evaluate([model], images, SAMPLES, device, **sums)

    return Workload(call, partial(call, **PLAIN), sum(p.numel() for p in model.parameters()))


def random_images(train_images: int = TRAIN_IMAGES) -> Images:
    """Grey noise to train on, four in five pixels dark as in MNIST: what the step in C leaves out.
    Black and white noise to test on, of which there is one NLL and not two."""
    random = np.random.default_rng(0)
    pixels = REFERENCE.model.input_dim
    train = random.integers(0, 256, (train_images, pixels), dtype=np.uint8)
    train[random.random(train.shape) < DARK] = 0
    test_binary = random.integers(0, 2, (TEST_IMAGES, pixels), dtype=np.uint8)
    labels = (np.arange(max(TEST_IMAGES, train_images)) % 10).astype(np.uint8)
    return Images(
        train=train,
        train_labels=labels[:train_images],
        train_levels=255,
        test=255 * test_binary,
        test_labels=labels[:TEST_IMAGES],
        test_levels=255,
        test_binary=test_binary,
        sha256="random",
    )
