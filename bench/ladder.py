"""The throughput ladder: from the documented loop to the packed engine, side by side.

Every rung lives in spawned one-thread processes of its own. One rung runs at a time, in an order
drawn anew each round; ratios are taken within a round, so that a slow moment hits both sides.
"""

import os
import random
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from bench.crews import Crew, ProcessDied
from bench.documented import BATCH, REFERENCE
from bench.loops import Gauge, Rung, Source, build_gauge, build_rung
from hvae.config import flops_per_image
from hvae.environment import environment
from hvae.threads import usable_cores

BYTES_PER_MODEL_STEP = 10e6  # unfused traffic of a training step, half of it Adam's
WARM_UP = 0.1  # of a window, before each window
EPOCH_STEPS = 938
GAUGES = {"cpu": {"sgemm": 10, "copy": 5}, "cuda": {"sgemm": 50, "copy": 50}}  # repeats
# Steps of a window, about a second on one core or one GPU; of a pack in model-steps on the CPU.
CPU_STEPS = {"documented": 50, "in_memory": 150, "fused": 250, "pack": 300}
CUDA_STEPS = {"documented": 50, "in_memory": EPOCH_STEPS, "fused": EPOCH_STEPS}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    lower_quartile: float
    upper_quartile: float


@dataclass(frozen=True)
class Measured:
    """A rung with its rates, its ratios to the first two rungs, and its share of the machine."""

    rung: Rung
    model_steps_per_second: Spread
    images_per_second: Spread
    ratio_to_documented: Spread
    ratio_to_in_memory: Spread
    fraction_of_sgemm: float
    fraction_of_copy_bandwidth: float
    model_steps_per_second_by_round: list[float]


@dataclass(frozen=True)
class MachineRates:
    """What the machine did in `processes` processes at once."""

    processes: int
    sgemm_gflop_per_second: Spread
    copy_gigabytes_per_second: Spread


@dataclass(frozen=True)
class Ladder:
    """All rungs of one device, in climbing order, and what was left out and why."""

    source: Source
    rounds: int
    cores: int
    rates: list[MachineRates]
    rungs: list[Measured]
    left_out: list[str]


def cpp_compiler() -> str | None:
    """The C++ compiler that `torch.compile` would use on a CPU, if there is one."""
    candidates = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def cpu_rungs(packs: Sequence[int], all_cores_pack: int, is_compiled: bool) -> list[Rung]:
    """The rungs of a CPU; with more than one core the last ones train a pack on each."""
    packed = [_packed(models, 1, False) for models in packs]
    cores = len(usable_cores())
    shared = [_packed(all_cores_pack, cores, False)] if cores > 1 else []
    if is_compiled:
        packed += [_packed(models, 1, True) for models in packs]
        shared += [_packed(all_cores_pack, cores, True)] if cores > 1 else []
    return [*_single("cpu", CPU_STEPS), *packed, *shared]


def cuda_rungs(packs: Sequence[int]) -> list[Rung]:
    """The rungs of a GPU; a window of a captured pack is a whole epoch."""
    captured = [
        Rung(f"captured_{k}", f"captured, packed {k}", "pack", EPOCH_STEPS, "cuda", models=k)
        for k in packs
    ]
    return [*_single("cuda", CUDA_STEPS), *captured]


def _single(device: str, steps: dict[str, int]) -> list[Rung]:
    titles = {
        "documented": "documented loop",
        "in_memory": "in memory, eager",
        "fused": "logits loss, fused Adam",
    }
    return [Rung(kind, title, kind, steps[kind], device) for kind, title in titles.items()]


def _packed(models: int, processes: int, is_compiled: bool) -> Rung:
    name, title = f"packed_{models}", f"packed {models}"
    if processes > 1:
        name, title = f"{name}_all_cores", f"{title} on each of {processes} cores"
    if is_compiled:
        name, title = f"{name}_compiled", f"{title}, compiled"
    steps = max(1, CPU_STEPS["pack"] // models)
    return Rung(name, title, "pack", steps, "cpu", models, processes, is_compiled)


def ladder(
    rungs: Sequence[Rung], source: Source, rounds: int, progress: Progress = lambda what: None
) -> Ladder:
    """Measure the rungs, the documented and the in-memory among them, over `rounds` rounds.

    A compiled rung that cannot be built is left out; raises `ProcessDied` where another cannot.
    """
    counts = sorted({rung.processes for rung in rungs})
    repeats = GAUGES[rungs[0].device]
    gauges = [Gauge(k, repeats[k], rungs[0].device, n) for n in counts for k in ("sgemm", "copy")]
    with ExitStack() as stack:
        crews = _crews([*rungs, *gauges], source, stack, progress)
        built = [task for task in (*rungs, *gauges) if task in crews]
        seconds = _windows({task: crews[task] for task in built}, source, rounds, progress)
    kept = [rung for rung in rungs if rung in seconds]
    rates = [_machine_rates(count, gauges, seconds) for count in counts]
    return Ladder(
        source,
        rounds,
        len(usable_cores()),
        rates,
        _measured(kept, source, seconds, rates),
        [f"{rung.title}: it could not be built" for rung in rungs if rung not in seconds],
    )
