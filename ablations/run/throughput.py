"""How fast the models of a study are: each shape is timed once on a machine, and that is kept in
`throughput/` beside the records, so that a second start does not time it again."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from platform import node
from typing import Any

from ablations.grid import Pack
from ablations.prediction import assumed
from ablations.run.executors import NODES_LOST, Executor, NodeDied
from ablations.run.progress import say
from hvae.config import DataConfig, RunConfig, TrainConfig
from hvae.native.bindings import LOSSES
from hvae.native.build import c_compiler
from hvae.processes import Progress, give_back_freed_memory
from hvae.records.files import overwrite, read_whole
from hvae.records.provenance import device_name, environment
from hvae.records.sources import SourcesChanged, require_sources
from hvae.settings import describe, digest, value

Throughput = dict[str, Any]
Group = tuple[RunConfig, ...]  # shapes that are timed side by side
NOT_TIMED: Throughput = {"measurements": []}
SHARE = 0.1  # of the predicted time of a study
FEWEST_SECONDS = 2.0  # of a study that takes less than a minute


@dataclass(frozen=True)
class Timing:
    """What is timed, by one worker while no other works, on the images in `data_dir`; all of it
    may take so many `seconds`. What was timed on the same `machine` is kept; where it is one of
    many, `names_node`, the record says which."""

    device: str
    sources_sha256: str
    data_dir: Path
    seconds: float
    machine: dict[str, Any]
    names_node: bool = False
    groups: tuple[Group, ...] = ()


def seconds_for(packs: Sequence[Pack], device: str, workers: int) -> float:
    """What timing may take: a tenth of what training will, or what the smallest study needs."""
    predicted = sum(map(assumed(device).seconds, packs))
    return max(FEWEST_SECONDS, SHARE * predicted / workers)


def shape(run: RunConfig) -> RunConfig:
    """What decides how fast a run is: its sizes, how many of its pixels are dark, whether step.c
    knows its loss. Other settings are at their defaults, though BCE takes a little longer."""
    train = TrainConfig(
        loss=TrainConfig().loss if run.train.loss in LOSSES else run.train.loss,
        objective="iwae" if run.train.objective == "iwae" else TrainConfig().objective,
        batch_size=run.train.batch_size,
        importance_samples=run.train.importance_samples,
    )
    return RunConfig(run.model, train, run.data)


def throughput(
    runs: Iterable[RunConfig],
    folder: Path,
    executor: Executor,
    timing: Timing,
    is_timed: bool = True,
) -> dict[RunConfig, Throughput]:
    """The throughput of every shape of these runs: what is kept, the rest timed now, while the
    machine is idle; nothing is timed where `is_timed` is False.

    Where a group fails, each of its shapes is timed alone, so that only a shape that cannot be
    timed lacks its numbers. Raises `SourcesChanged`.
    """
    files = {
        one: _file(folder / "throughput", one, timing.sources_sha256, timing.machine)
        for one in sorted(set(map(shape, runs)), key=digest)
    }
    blocks = {one: _read(file) for one, file in files.items()}
    waiting = _groups(one for one, block in blocks.items() if block is NOT_TIMED)
    nodes_lost = 0
    while waiting and is_timed:
        for outcome in executor.map(measure, [replace(timing, groups=tuple(waiting))]):
            if not waiting:  # its worker died when all was said
                continue
            group = waiting.pop(0)
            if isinstance(outcome.error, SourcesChanged):
                raise outcome.error
            for one, block in (outcome.result or {}).items():
                blocks[one] = block
                _write(files[one], block)
            if outcome.error is None:
                continue
            nodes_lost += isinstance(outcome.error, NodeDied)
            again = _again(group, outcome.error, nodes_lost)
            waiting = again + waiting
            if not again:
                blocks[group[0]] = _failure(group[0], outcome.error)
    return blocks


def _again(group: Group, error: BaseException, nodes_lost: int) -> list[Group]:
    """What is timed again: the group whose node left, else each of its shapes alone."""
    if isinstance(error, NodeDied) and nodes_lost <= NODES_LOST:
        return [group]
    return [(one,) for one in group] if len(group) > 1 else []


def measure(timing: Timing, progress: Progress) -> Iterator[dict[RunConfig, Throughput]]:
    """The throughput of each shape, group by group: on the CPU, and on CUDA where it is present.

    Raises `SourcesChanged` where the sources are not those of the task, before or after.
    """
    for group in timing.groups:
        require_sources(timing.sources_sha256)
        from bench.throughput.measure import measure_everywhere
        from hvae.data.images import load

        images = load(group[0].data, timing.data_dir)
        share = timing.seconds / len(timing.groups)
        measured = measure_everywhere(group, images, timing.device, share)
        give_back_freed_memory()  # what comes next in this process is a training
        require_sources(timing.sources_sha256)
        block = environment(timing.device) | ({"node": node()} if timing.names_node else {})
        yield {
            one: {"environment": block, "measurements": found}
            for one, found in zip(group, measured, strict=True)
        }


def _groups(shapes: Iterable[RunConfig]) -> list[Group]:
    """Shapes that see the same images are timed side by side."""
    groups: dict[DataConfig, list[RunConfig]] = {}
    for one in shapes:
        groups.setdefault(one.data, []).append(one)
    return [tuple(group) for group in groups.values()]


def machine(device: str) -> dict[str, Any]:
    """What the numbers depend on beside the sources, without importing torch."""
    known = {"torch": version("torch"), "device": device, "device_name": device_name(device)}
    return known | {"compiles": c_compiler() is not None}


def _file(folder: Path, one: RunConfig, sources_sha256: str, machine: dict[str, Any]) -> Path:
    """Of a shape, the sources and the machine."""
    key = json.dumps([digest(one), sources_sha256, machine], sort_keys=True)
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _read(file: Path) -> Throughput:
    try:
        block: Throughput = json.loads(read_whole(file))
    except (OSError, ValueError, RecursionError):  # not there, or not whole
        return NOT_TIMED
    is_block = isinstance(block, dict) and isinstance(block.get("measurements"), list)
    return block if is_block else NOT_TIMED


def _write(file: Path, block: Throughput) -> None:
    with suppress(OSError):  # it would be timed again, no more
        file.parent.mkdir(exist_ok=True)
        overwrite(file, json.dumps(block, indent=1).encode() + b"\n")


def _failure(one: RunConfig, error: BaseException) -> Throughput:
    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    sizes = ", ".join(describe(name, value(one, name)) for name in ("depth", "latent"))
    say(f"no throughput measured of {sizes}: {reason}")
    return {"measurements": [], "error": reason}
