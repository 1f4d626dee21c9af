"""From a study to its records: what is left to do, cut into packs, on the executor asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ablations.grid import cost_limit, labels, pack_size, packs, runs
from ablations.run.executors import choose, resolve_device, worker_count
from ablations.run.messages import say
from ablations.studies import Study
from ablations.study_files import keep
from hvae.records.provenance import code, sources_sha256
from hvae.records.standings import Standing, count, survey, to_run
from hvae.records.store import Store

if TYPE_CHECKING:
    from ablations.run.pack import Conditions


@dataclass(frozen=True)
class Launch:
    """How what is to do is done: what the options of `hvae run` said."""

    data_dir: Path | None = None
    device: str = "auto"
    workers: int | None = None
    executor: str = "local"
    redo_stale: bool = False
    keeps_weights: bool = False
    is_timed: bool = True


class Trained(NamedTuple):
    """How many runs came to nothing, and to no numbers; of those diverged also earlier ones."""

    failed: int
    diverged: int


def train(study: Study, store: Store, launch: Launch, standings: Sequence[Standing]) -> Trained:
    """Train what is to do of a study that stands like that. Everything is validated first; what was
    not timed before is timed first, while the machine is idle."""
    from ablations.run import study as runner
    from ablations.run.progress import Tally, display
    from ablations.run.throughput import throughput

    conditions = _conditions(study, launch)
    device = conditions.device
    store.open_for_writing()
    keep(study, store.folder)
    todo = to_run(standings, launch.redo_stale, launch.keeps_weights)
    at_once = worker_count(launch.executor, device, launch.workers)
    executor, size = choose(launch.executor, at_once), pack_size(device, len(standings), at_once)
    cut = packs(study.name, runs(study), todo, size, cost_limit(device))
    present = [s.record for s in standings if s.record and s.digest not in todo]
    tally = Tally(cut, labels(study), present)
    try:
        with display(study.name, tally) as shown:
            wanted = [run for pack in cut for run in pack.runs]
            given = (device, conditions.sources_sha256, launch.is_timed)
            blocks = throughput(wanted, store.folder, executor, *given)
            heard = (shown.on_progress, shown.on_record)
            failed = runner.run_study(cut, store, executor, conditions, blocks, *heard)
    except KeyboardInterrupt:
        say(f"{study.name}: finished runs are kept; the same command resumes")
        raise
    return Trained(failed, tally.diverged)


def _conditions(study: Study, launch: Launch) -> "Conditions":
    """What the study is trained under. Raises `ValueError` where data or device are not there."""
    from ablations.run.pack import Conditions
    from hvae.data import mnist
    from hvae.native.build import library

    sources = code()  # before anything that takes time: the workers refuse any other
    directory = mnist.data_dir(launch.data_dir)
    for name in sorted({cell.run.data.name for cell in study.cells}):
        mnist.require(name, directory)
    device = resolve_device(launch.device)
    if device == "cpu":
        library()  # built once, so that the workers find it; if it cannot be, one warning says why
    return Conditions(directory, device, sources, keeps_weights=launch.keeps_weights)


def standings_of(study: Study, store: Store, known: Iterable[Standing] = ()) -> list[Standing]:
    """How every run of the study stands, judged by the sources at hand; `known` ones as before."""
    earlier = {standing.digest: standing for standing in known}
    return survey(store, runs(study), sources_sha256(), earlier)


def warn_of_stale(standings: Sequence[Standing], redo_stale: bool) -> None:
    """Say on stderr that stale records stay, where there are any and they do."""
    stale = count(standings)["stale"]
    if stale and not redo_stale:
        say(f"{stale} records are stale and stay; --redo-stale redoes them")
