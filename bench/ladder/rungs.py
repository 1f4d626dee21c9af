"""The rungs of the ladder as data, and the gauges beside them. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from hvae.config import RunConfig
from hvae.processes import core_count

EPOCH_STEPS = 938  # of 60,000 images
BATCH, REFERENCE = RunConfig().train.batch_size, RunConfig().model
# Repeats of a window. A product large enough to reach the machine's rate; more bytes than caches.
GAUGES = {"cpu": {"sgemm": 10, "copy": 5}, "cuda": {"sgemm": 50, "copy": 50}}
SGEMM_SIDE = {"cpu": 1024, "cuda": 8192}
COPY_FLOATS = {"cpu": 2**24, "cuda": 2**28}
# Steps of a window, about a second on one core or one GPU; of a pack in model-steps on the CPU.
CPU_STEPS = {"documented": 50, "in_memory": 150, "fused": 250, "pack": 300}
CUDA_STEPS = {"documented": 50, "in_memory": EPOCH_STEPS, "fused": EPOCH_STEPS}
WARM_UP = 0.1  # of a window, before each window
MOST_PROCESSES = 8  # of 0.4 GB each: four times as many wait for their turns


@dataclass(frozen=True)
class Source:
    """The training images: dataset, its folder, and how many there are."""

    name: str
    folder: Path
    images: int


@dataclass(frozen=True)
class Rung:
    """A way to train: `models` at once in each of `processes`, `steps` batches a window."""

    name: str
    title: str
    kind: str  # documented, in_memory, fused, pack
    steps: int
    device: str
    models: int = 1
    processes: int = 1
    engine: str = ""  # of a pack: traced, compiled or jax
    depth: int = REFERENCE.num_layers
    latent: int = REFERENCE.latent_dim

    def images(self, source: Source) -> int:
        """Images of a window: whole batches, or the whole training set."""
        return min(self.steps * BATCH, source.images)

    def amounts(self, source: Source) -> tuple[int, int]:
        """Images to warm up and of a window."""
        window = self.images(source)
        # Whole batches: a short one would be of a shape not yet traced, compiled or captured.
        return min(window, BATCH * ceil(WARM_UP * self.steps)), window


@dataclass(frozen=True)
class Gauge:
    """A rate of the machine: `kind` sgemm or copy, `repeats` a window, all processes at once."""

    kind: str
    repeats: int
    device: str
    processes: int = 1

    def amounts(self, source: Source) -> tuple[int, int]:
        """Repeats to warm up and of a window."""
        return 1, self.repeats

    @property
    def work(self) -> float:
        """FLOP of the products of a window, or bytes read and written, of all processes."""
        once = 2 * SGEMM_SIDE[self.device] ** 3
        if self.kind == "copy":
            once = 2 * 4 * COPY_FLOATS[self.device]
        return float(once * self.repeats * self.processes)


def cpu_rungs(
    packs: Sequence[int], common: int, engines: Sequence[str], has_jax: bool = False
) -> list[Rung]:
    """The rungs of a CPU, a packed one for each engine, and of JAX one of the `common` size; with
    more than one core the last ones train a pack of that size on each of up to 8."""
    packed = [_packed(models, 1, engine) for engine in engines for models in packs]
    cores = min(core_count(), MOST_PROCESSES)
    shared = [_packed(common, cores, engine) for engine in engines if cores > 1]
    jax = [_packed(common, 1, "jax")] if has_jax else []
    return [*_single("cpu", CPU_STEPS), *jax, *packed, *shared]


def cuda_rungs(packs: Sequence[int], has_jax: bool = False) -> list[Rung]:
    """The rungs of a GPU; a window of a captured pack is a whole epoch."""
    captured = [
        Rung(f"captured_{k}", f"captured, packed {k}", "pack", EPOCH_STEPS, "cuda", k, 1, "traced")
        for k in packs
    ]
    most = max(packs)
    jax = Rung("jax", f"packed {most}, JAX", "pack", EPOCH_STEPS, "cuda", most, 1, "jax")
    return [*_single("cuda", CUDA_STEPS), *([jax] if has_jax else []), *captured]


def _single(device: str, steps: dict[str, int]) -> list[Rung]:
    titles = {
        "documented": "documented loop",
        "in_memory": "in memory, eager",
        "fused": "logits loss, fused Adam",
    }
    return [Rung(kind, title, kind, steps[kind], device) for kind, title in titles.items()]


def _packed(models: int, processes: int, engine: str) -> Rung:
    name, title = f"packed_{models}", f"packed {models}"
    if processes > 1:
        name, title = f"{name}_all_cores", f"{title} on each of {processes} cores"
    if engine != "traced":
        name, title = f"{name}_{engine}", f"{title}, {'JAX' if engine == 'jax' else engine}"
    steps = max(1, CPU_STEPS["pack"] // models)
    return Rung(name, title, "pack", steps, "cpu", models, processes, engine)
