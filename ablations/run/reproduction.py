"""The documented setting as a study of one run: trained with its weights kept, its pictures
measured."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ablations.grid import runs
from ablations.run.launch import Launch, train_missing
from ablations.run.progress import say
from ablations.studies import Study, narrow
from hvae.config import RunConfig
from hvae.processes import Progress, WorkerFailed
from hvae.records.sources import require_sources, sources_sha256
from hvae.records.store import Store
from hvae.settings import digest

STUDY = Study(  # nothing swept, nothing set: the documented run
    name="reproduce",
    question="Are the documented results reproduced?",
    budget="about five minutes on one CPU core",
)


@dataclass(frozen=True)
class MeasureTask:
    """The finished run whose pictures a worker measures."""

    folder: Path
    run: RunConfig
    data_dir: Path
    sources_sha256: str


def study_of(data: str) -> Study:
    """The documented run; of other data than MNIST under a name of its own."""
    name = STUDY.name if data == "mnist" else f"{STUDY.name}-{data}"
    return replace(narrow(STUDY, settings={"data.name": data}), name=name)


def train_documented(study: Study, store: Store, launch: Launch) -> None:
    """Train the study's one run, unless it is there with its weights. Raises `WorkerFailed` where
    no model comes of it, `ValueError` where a stale record has no weights."""
    (standing,) = train_missing(study, store, launch)
    if standing.record is None or launch.to_do([standing]):
        reason = standing.reason or "nothing was recorded"
        raise WorkerFailed(f"{study.name}: the training failed: {reason}")
    if standing.record.status == "diverged":
        raise WorkerFailed(f"{study.name}: the training diverged; there is nothing to show")
    if not standing.has_weights:
        raise ValueError(f"{study.name}: the stale record has no weights; --redo-stale redoes both")


def measure_pictures(study: Study, store: Store, data_dir: Path) -> None:
    """Measure the pictures where that was not done of these weights by these sources, in a process
    prepared like every worker: so all compute alike."""
    from ablations.run.executors import Local, first
    from hvae.pictures.reproduction import is_current

    (run,) = runs(study)
    if is_current(store.folder, digest(run), store.weights_path(digest(run)).read_bytes()):
        return
    say(f"{study.name}: measuring samples, map and manifold, a minute at most")
    task = MeasureTask(store.folder, run, data_dir, sources_sha256())
    first(Local(1).map(write_measurements, [task]))


def write_measurements(task: MeasureTask, progress: Progress) -> Iterator[None]:
    """Measure the pictures of a run whose weights were kept, and publish what was found. Raises
    `SourcesChanged` where the sources are not those of the task, before or after."""
    from hvae.data.images import load
    from hvae.model.hierarchy import with_weights
    from hvae.pictures import reproduction
    from hvae.records.attachments import read_weights

    require_sources(task.sources_sha256)
    store = Store(task.folder)
    path = store.weights_path(digest(task.run))
    content = path.read_bytes()
    model = with_weights(task.run, read_weights(path, content))
    unit_kl = store.read(digest(task.run)).metrics["kl_per_unit_nats"][-1]
    measurements = reproduction.measurements(model, load(task.run.data, task.data_dir), unit_kl)
    require_sources(task.sources_sha256)
    reproduction.write(task.folder, digest(task.run), content, measurements)
    yield
