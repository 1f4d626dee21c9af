"""What happens to a pack: fit → evaluate → record, and to a grid of packs: measure, map, write."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablations.grid import Pack, halves
from ablations.run.executors import Executor
from ablations.run.messages import say
from ablations.run.outcomes import OnProgress, Outcome, Progress
from hvae.closed_form import flops_per_image, parameter_count
from hvae.config import RunConfig, as_dict, describe, digest, value
from hvae.native.build import library
from hvae.processes import give_back_freed_memory
from hvae.records.provenance import SourcesChanged, environment, require_sources
from hvae.records.store import PICTURES, WEIGHTS, Files, Record, Store

if TYPE_CHECKING:  # importing this module must not import torch
    from hvae.data.images import Images
    from hvae.evaluation.evaluate import Evaluation
    from hvae.model import HierarchicalVAE
    from hvae.training.fit import Fit

Throughput = dict[str, Any]
Code = dict[str, Any]  # `hvae.records.provenance.code`


@dataclass(frozen=True)
class Task:
    """A pack with all that a worker needs to make its records."""

    pack: Pack
    data_dir: Path
    device: str
    throughput: dict[RunConfig, Throughput]  # by cell
    code: Code  # what the grid was started with; `run_pack` refuses any other
    keeps_weights: bool = False

    def __hash__(self) -> int:
        return hash(self.pack)


class Finished(NamedTuple):
    """What is left of a run: its record, and the files that lie beside it."""

    record: Record
    files: Files


@dataclass(frozen=True)
class Measure:
    """The cells whose throughput is to be measured, by one worker while no other works."""

    cells: tuple[RunConfig, ...]
    device: str
    sources_sha256: str


def run_study(
    packs: Sequence[Pack],
    store: Store,
    executor: Executor,
    data_dir: Path,
    device: str,
    code: Code,
    on_progress: OnProgress[Task],
    on_record: Callable[[Record], None],
    keeps_weights: bool = False,
) -> int:
    """Measure throughput, train the packs, write their records. The number of runs that failed.

    `code` goes into the records. Where the sources change, a pack fails instead of bearing a wrong
    name; raises `SourcesChanged` where they do before any is trained.
    """
    throughput = _measured(packs, executor, device, code["sources_sha256"])
    if device == "cpu":
        library()  # built once, so that the workers find it; if it cannot be, one warning says why
    tasks = [
        Task(
            pack,
            data_dir,
            device,
            throughput,
            code,
            keeps_weights=keeps_weights,
        )
        for pack in packs
    ]
    failed, said = 0, set[str]()
    for outcome in _outcomes(tasks, executor, on_progress):
        failed += _write(outcome, store, on_record)
        line = str(outcome.error)
        if isinstance(outcome.error, SourcesChanged) and line not in said:
            said.add(line)
            say(line)
    return failed


def _outcomes(
    tasks: Iterable[Task], executor: Executor, on_progress: OnProgress[Task]
) -> Iterator[Outcome[Task, list[Finished]]]:
    """What became of every pack; one that lacked memory is tried once more by halves."""
    smaller: list[Task] = []
    for outcome in executor.map(run_pack, tasks, on_progress):
        if is_out_of_memory(outcome.error) and len(outcome.task.pack.runs) > 1:
            smaller += [replace(outcome.task, pack=pack) for pack in halves(outcome.task.pack)]
        else:
            yield outcome
    yield from executor.map(run_pack, smaller)


def _write(
    outcome: Outcome[Task, list[Finished]], store: Store, on_record: Callable[[Record], None]
) -> int:
    """Publish the records of a pack, or why it has none; the number of runs that failed."""
    if outcome.error is not None:
        for run in outcome.task.pack.runs:
            store.write_failure(run, outcome.error)
        return len(outcome.task.pack.runs)
    assert outcome.result is not None
    records = [finished.record for finished in outcome.result]
    store.write_all(records, {record.digest: files for record, files in outcome.result})
    for record in records:
        on_record(record)
    return 0


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether less memory may help: torch raises its own errors, the system kills the worker."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(word in said for word in words)


def run_pack(task: Task, progress: Progress) -> list[Finished]:
    """Train and evaluate a pack: what is left of each member, in their order.

    Raises `SourcesChanged` where the sources are not the task's, before or after.
    """
    require_sources(task.code["sources_sha256"])  # a worker that starts late imports what is there
    from hvae.data.images import load
    from hvae.evaluation.evaluate import evaluate
    from hvae.training.fit import fit

    runs, device = task.pack.runs, task.device
    images = load(runs[0].data, task.data_dir)
    epochs = runs[0].train.epochs  # the evaluation counts as much as the training
    fitted = fit(
        runs,
        images,
        device,
        progress=lambda done, _: progress(done, 2 * epochs),
    )
    give_back_freed_memory()
    evaluated = evaluate(
        fitted.models,
        images,
        runs[0].evaluation.importance_samples,
        device,
        progress=lambda done, total: progress(epochs + epochs * done // total, 2 * epochs),
    )
    records = _records(task, images, fitted, evaluated)
    finished = [
        Finished(record, _files(record, model, images, task.keeps_weights))
        for record, model in zip(records, fitted.models, strict=True)
    ]
    require_sources(task.code["sources_sha256"])
    return finished


def _records(task: Task, images: "Images", fitted: "Fit", evaluated: "Evaluation") -> list[Record]:
    """The record of each member."""
    runs = task.pack.runs
    flags = {"pack_size": len(runs), "engine": fitted.engine}
    if fitted.declined:
        flags["declined"] = fitted.declined
    shared: dict[str, Any] = {
        "study": task.pack.study,
        "data_sha256": images.sha256,
        "code": task.code,
        "environment": environment(task.device) | {"flags": flags},
        "seconds": {
            "train": fitted.seconds / len(runs),
            "evaluate": evaluated.seconds / len(runs),
        },
    }
    return [
        Record(
            digest=digest(run),
            config=as_dict(run),
            status=status(history, metrics),
            parameters=parameter_count(run.model),
            flops_per_image=flops_per_image(run),
            history=history,
            metrics=metrics,
            throughput=task.throughput[cell(run)],
            **shared,
        )
        for run, history, metrics in zip(runs, fitted.histories, evaluated.metrics, strict=True)
    ]


def _files(
    record: Record, model: "HierarchicalVAE", images: "Images", keeps_weights: bool
) -> dict[str, bytes]:
    """What lies beside a record: pictures, and the weights where they are kept."""
    from hvae.model import state
    from hvae.pictures.samples import pictures
    from hvae.records.attachments import arrays_file, weights_file

    model.cpu()  # drawn there, whatever trained it
    unit_kl = record.metrics["kl_per_unit_nats"][0]
    files = {PICTURES: arrays_file(pictures(model, images, unit_kl))}
    if keeps_weights:
        files[WEIGHTS] = weights_file(state(model), record.run)
    return files


def status(history: list[dict[str, Any]], metrics: dict[str, Any]) -> str:
    """Diverged where the loss of the last epoch, or the ELBO of what it left, is no number."""
    ends = (history[-1]["loss"], metrics["elbo_nats"])
    return "finished" if all(map(math.isfinite, ends)) else "diverged"


def cell(run: RunConfig) -> RunConfig:
    """A run with the seed left out."""
    return replace(run, train=replace(run.train, seed=0))


def measure(task: Measure, progress: Progress) -> dict[RunConfig, Throughput]:
    """The throughput block of each cell: on the CPU, and on CUDA where it is present.

    Raises `SourcesChanged` where the sources are not the task's, before or after.
    """
    require_sources(task.sources_sha256)
    from bench.throughput.measure import measure_everywhere

    by_device = measure_everywhere(task.cells, task.device)
    require_sources(task.sources_sha256)
    block = environment(task.device)
    return {
        cell: {"environment": block, "measurements": [one for found in several for one in found]}
        for cell, *several in zip(task.cells, *by_device, strict=True)
    }


def _measured(
    packs: Sequence[Pack], executor: Executor, device: str, sources_sha256: str
) -> dict[RunConfig, Throughput]:
    """Throughput of every cell, measured before training starts, when the machine is idle."""
    cells = tuple(sorted({cell(run) for pack in packs for run in pack.runs}, key=digest))
    return _throughput(Measure(cells, device, sources_sha256), executor)


def _throughput(task: Measure, executor: Executor) -> dict[RunConfig, Throughput]:
    """Throughput of all cells together; where that fails, of each alone, so that only a cell that
    cannot be measured lacks its numbers. Its runs are tried all the same."""
    (outcome,) = executor.map(measure, [task])
    if outcome.result is not None:
        return outcome.result
    if isinstance(outcome.error, SourcesChanged):
        raise outcome.error
    if len(task.cells) > 1:
        alone = [_throughput(replace(task, cells=(one,)), executor) for one in task.cells]
        return {one: block for blocks in alone for one, block in blocks.items()}
    (one,) = task.cells
    line = str(outcome.error).strip().partition("\n")[0]
    reason = f"{type(outcome.error).__name__}: {line}"
    sizes = ", ".join(describe(name, value(one, name)) for name in ("depth", "latent"))
    say(f"no throughput measured of {sizes}: {reason}")
    return {one: {"measurements": [], "error": reason}}
