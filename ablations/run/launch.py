"""From a study to its records: what is left to do, cut into packs, on the executor asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablations.grid import labels, pack_size, packs, runs
from ablations.run.executors import choose, resolve_device, worker_count
from ablations.run.messages import say
from ablations.studies import Study
from ablations.study_files import keep
from hvae.records.provenance import code, sources_sha256
from hvae.records.standings import Standing, count, survey, to_run
from hvae.records.store import Store


@dataclass(frozen=True)
class Launch:
    """How what is to do is done: what the options of `hvae run` said."""

    data_dir: Path | None = None
    device: str = "auto"
    workers: int | None = None
    executor: str = "local"
    redo_stale: bool = False
    keeps_weights: bool = False


def train(study: Study, store: Store, launch: Launch) -> int:
    """Train what is to do; the number of runs that failed. Everything is validated first."""
    from ablations.run import pack as runner
    from ablations.run.progress import Tally, display
    from hvae.data import mnist

    sources = code()  # before anything that takes time: the workers refuse any other
    directory = mnist.data_dir(launch.data_dir)
    for name in sorted({cell.run.data.name for cell in study.cells}):
        mnist.require(name, directory)
    device = resolve_device(launch.device)
    store.open_for_writing()
    keep(study, store.folder)
    standings = standings_of(study, store)  # opening recovers what a kill left half published
    todo = to_run(standings, launch.redo_stale, launch.keeps_weights)
    at_once = worker_count(launch.executor, device, launch.workers)
    cut = packs(study.name, runs(study), todo, pack_size(device, len(standings), at_once))
    if not cut:
        return 0
    present = [s.record for s in standings if s.record and s.digest not in todo]
    chosen = choose(launch.executor, at_once)
    try:
        with display(study.name, Tally(cut, labels(study), present)) as shown:
            return runner.run_study(
                cut,
                store,
                chosen,
                directory,
                device,
                sources,
                shown.on_progress,
                shown.on_record,
                keeps_weights=launch.keeps_weights,
            )
    except KeyboardInterrupt:
        say(f"{study.name}: finished runs are kept; the same command resumes")
        raise


def standings_of(study: Study, store: Store) -> list[Standing]:
    """How every run of the study stands, judged by the sources at hand."""
    return survey(store, runs(study), sources_sha256())


def warn_of_stale(standings: Sequence[Standing], redo_stale: bool) -> None:
    """Say on stderr that stale records stay, where there are any and they do."""
    stale = count(standings)["stale"]
    if stale and not redo_stale:
        say(f"{stale} records are stale and stay; --redo-stale redoes them")
