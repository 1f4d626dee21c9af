"""What happens to a pack: fit → evaluate → record, a member at a time where none depends on
another, after the traced step all together. Runs in the workers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablations.grid import Pack
from ablations.run.throughput import NOT_TIMED, Throughput, shape
from hvae.closed_form import flops_per_image, run_parameters
from hvae.config import RunConfig, as_dict
from hvae.processes import Progress, give_back_freed_memory
from hvae.records.provenance import environment
from hvae.records.sources import require_sources
from hvae.records.store import ARRAYS, WEIGHTS, Files, Record
from hvae.settings import digest

if TYPE_CHECKING:  # importing this module must not import torch
    from hvae.data.images import Images
    from hvae.model.hierarchy import HierarchicalVAE
    from hvae.records.attachments import Arrays
    from hvae.training.fit import Fit

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """What a grid is trained under: its data and device, what its records are to hold; `code` is
    what it was started with, and `run_pack` refuses any other."""

    data_dir: Path
    device: str
    code: dict[str, Any]  # `hvae.records.provenance.code`
    engine: str = "auto"  # as `fit` takes it
    keeps_weights: bool = False

    @property
    def sources_sha256(self) -> str:
        return str(self.code["sources_sha256"])


@dataclass(frozen=True)
class Task:
    """A pack with all that a worker needs to make its records."""

    pack: Pack
    conditions: Conditions
    throughput: dict[RunConfig, Throughput]  # by shape


class Finished(NamedTuple):
    """What is left of a run: its record, and the files that lie beside it."""

    record: Record
    files: Files


def run_pack(task: Task, progress: Progress) -> Iterator[Finished]:
    """Train a pack and evaluate its runs: what is left of each, as soon as it is known.

    Members of the compiled step do not depend on each other in any bit: those that are recorded
    are left out, and the others end one by one. Of the traced step all are trained again, so that
    the last digits are those of a pack that nobody interrupted.
    Raises `SourcesChanged` where the sources are not the task's, before or after.
    """
    conditions = task.conditions
    require_sources(conditions.sources_sha256)  # a worker that starts late imports what is there
    from hvae.data.images import load
    from hvae.training.fit import fit

    runs = task.pack.runs if _is_compiled(task) else task.pack.members
    images = load(runs[0].data, conditions.data_dir)
    epochs = runs[0].train.epochs  # the evaluation counts as much as the training
    fitted = fit(
        runs,
        images,
        conditions.device,
        engine=conditions.engine,
        progress=lambda done, _: progress(done, 2 * epochs),
    )
    give_back_freed_memory()
    for member, record, nlls in _records(task, runs, images, fitted, progress):
        files = _files(record, fitted.models[member], images, nlls, conditions.keeps_weights)
        require_sources(conditions.sources_sha256)
        yield Finished(record, files)


def _is_compiled(task: Task) -> bool:
    """Whether the compiled step trains the pack, whichever of its members are left to train."""
    import torch

    from hvae.training.fit import chosen

    device = torch.device(task.conditions.device)
    is_compiled, _ = chosen(task.pack.members, device, engine=task.conditions.engine)
    return is_compiled


def _records(
    task: Task, runs: tuple[RunConfig, ...], images: "Images", fitted: "Fit", progress: Progress
) -> Iterator[tuple[int, Record, "Arrays"]]:
    """The record of each run that is to have one, which member it is, and its NLL by image:
    evaluated one by one after the compiled step; else together, since on a GPU the noise that they
    share costs more than all else."""
    from hvae.evaluation.evaluate import evaluate

    epochs, wanted = runs[0].train.epochs, [runs.index(run) for run in task.pack.runs]
    parts = [[member] for member in wanted] if fitted.engine == "compiled" else [wanted]
    for part, members in enumerate(parts):

        def report(done: int, total: int, part: int = part) -> None:
            share = (part + done / total) / len(parts)
            progress(epochs + int(epochs * share), 2 * epochs)

        evaluation = evaluate(
            [fitted.models[member] for member in members],
            images,
            runs[0].evaluation.importance_samples,
            task.conditions.device,
            progress=report,
            nll_images=runs[0].evaluation.nll_images,
        )
        seconds = {
            "train": fitted.seconds / len(runs),
            "evaluate": evaluation.seconds / len(members),
        }
        for member, metrics, nlls in zip(members, *evaluation[:2], strict=True):
            history = fitted.histories[member]
            record = _record(task, runs[member], images, fitted, history, metrics, seconds)
            yield member, record, nlls


def _record(
    task: Task,
    run: RunConfig,
    images: "Images",
    fitted: "Fit",
    history: list[dict[str, Any]],
    metrics: Metrics,
    seconds: dict[str, float],
) -> Record:
    flags = {"pack_size": len(fitted.models), "engine": fitted.engine}
    if fitted.declined:
        flags["declined"] = fitted.declined
    if approximate := proposal(run):
        flags["proposal"] = approximate
    return Record(
        study=task.pack.study,
        digest=digest(run),
        config=as_dict(run),
        status=status(history, metrics),
        data_sha256=images.sha256,
        code=task.conditions.code,
        environment=environment(task.conditions.device) | {"flags": flags},
        parameters=run_parameters(run),
        flops_per_image=flops_per_image(run),
        history=history,
        metrics=metrics,
        throughput=task.throughput.get(shape(run), NOT_TIMED),
        seconds=seconds,
    )


def proposal(run: RunConfig) -> str:
    """What the curvature that the NLL is sampled by leaves out of a model that is not the
    documented one; empty where nothing. The NLL is right all the same, only its error larger."""
    left_out = ["the curvature of tanh"] if run.model.activation == "tanh" else []
    if run.model.prior_variance == "learned" and run.model.num_layers > 1:
        left_out.append("that of a learned variance but for its Fisher information")
    return f"Gauss–Newton, without {' and '.join(left_out)}" if left_out else ""


def _files(
    record: Record, model: "HierarchicalVAE", images: "Images", nlls: "Arrays", keeps_weights: bool
) -> dict[str, bytes]:
    """What lies beside a record: pictures, the NLL by image, and the weights where they are
    kept."""
    from hvae.model.hierarchy import state
    from hvae.pictures.samples import pictures
    from hvae.records.attachments import arrays_file, weights_file

    model.cpu()  # drawn there, whatever trained it
    unit_kl, shape = record.metrics["kl_per_unit_nats"], record.run.data.dataset.shape
    drawn = pictures(model, images, unit_kl, shape)
    files = {ARRAYS: arrays_file(drawn | nlls)}
    if keeps_weights:
        files[WEIGHTS] = weights_file(state(model), record.run)
    return files


def status(history: list[dict[str, Any]], metrics: Metrics) -> str:
    """Diverged where the loss of the last epoch, or the ELBO of what it left, is no number."""
    ends = (history[-1]["loss"], metrics["elbo_nats"])
    return "finished" if all(map(math.isfinite, ends)) else "diverged"
