"""From a study to its records: what is left to do is cut into packs and trained, every run is
recorded as it ends, and what fails is tried again."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ablations.grid import Pack, labels, packing, packs, runs, variant_of, without
from ablations.prediction import lacking_memory, too_large
from ablations.run.executors import (
    DEVICES,
    EXECUTORS,
    Executor,
    Place,
    choose,
    resolve_device,
)
from ablations.run.pack import Conditions, Task, run_pack
from ablations.run.progress import Display, say
from ablations.run.recording import Recording
from ablations.run.sharing import FILE as CLAIMS
from ablations.run.sharing import Sharing
from ablations.run.throughput import (
    Throughput,
    Timing,
    machine,
    seconds_for,
    shape,
    throughput,
)
from ablations.studies import Study
from ablations.study_files import keep
from hvae.config import DataConfig, RunConfig, TrainConfig
from hvae.records.claims import Claims
from hvae.records.provenance import code
from hvae.records.sources import sources_sha256
from hvae.records.standings import (
    UNTRUSTED,
    Standing,
    count,
    refuse_damaged,
    survey,
    to_run,
    without_weights,
)
from hvae.records.store import Store
from hvae.validation import require_choice
from report.render.numbers import counted

MOST_WORKERS = 10_000


@dataclass(frozen=True)
class Launch:
    """How what is to do is done: what the options of `hvae run` said. Raises `ValueError` where
    they do not fit each other."""

    data_dir: Path | None = None
    device: str = "auto"
    workers: int | None = None
    executor: str = "local"
    address: str | None = None
    redo_stale: bool = False
    keeps_weights: bool = False
    is_timed: bool = True

    def __post_init__(self) -> None:
        require_choice("device", self.device, DEVICES)
        require_choice("executor", self.executor, EXECUTORS)
        require_workers(self.executor, self.workers)
        if self.address and self.executor != "ray":
            raise ValueError(
                f"address: {self.address!r} has no meaning with executor {self.executor!r}; "
                "allowed with 'ray'"
            )

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Where it is done; a cluster is left at the end of the block. Raises `ValueError`."""
        if self.executor != "ray":
            yield choose(self.executor, resolve_device(self.device), self.workers)
            return
        from ablations.run.cluster import joined

        assert self.workers is not None
        with joined(self.address, self.workers, self.device) as cluster:
            yield cluster

    def located(self, run: RunConfig) -> RunConfig:
        """The run, its images of one's own where workers find them that are at home elsewhere."""
        if not run.data.path or self.executor != "ray":
            return run
        path = str(Path(run.data.path).expanduser().absolute())
        return replace(run, data=replace(run.data, path=path))

    def to_do(self, standings: Sequence[Standing]) -> set[str]:
        """Digests of the runs to train."""
        return to_run(standings, self.redo_stale, self.keeps_weights)


def require_workers(executor: str, workers: int | None) -> None:
    """Raise `ValueError` on more workers than there can be or than this process is, and where those
    of a cluster are not told: they decide what is packed, and nodes come and go."""
    if workers is not None and workers not in range(1, MOST_WORKERS + 1):
        allowed = f"integers from 1 to {MOST_WORKERS:,}"
        raise ValueError(f"workers: {workers!r} is not allowed; allowed: {allowed}")
    if executor == "serial" and workers not in (None, 1):
        raise ValueError(f"workers: {workers} have no meaning with executor 'serial'; allowed: 1")
    if executor == "ray" and workers is None:
        raise ValueError("workers: none are told; allowed with executor 'ray': a number of them")


def standings_of(study: Study, store: Store, known: Iterable[Standing] = ()) -> list[Standing]:
    """How every run of the study stands, judged by the sources at hand; `known` ones as before."""
    earlier = {standing.digest: standing for standing in known}
    return survey(store, runs(study), sources_sha256(), earlier)


def require_records(study: Study, store: Store, standings: Iterable[Standing]) -> None:
    """Raise `ValueError` where no run has a record that can be read."""
    if not any(standing.record for standing in standings):
        raise ValueError(
            f"results: no record of these runs under {store.folder}; "
            f"run `hvae run {study.argument}`, narrowed alike, first"
        )


def say_what_lacks_memory(cut: Sequence[Pack], workers: int, executor: str, device: str) -> None:
    """Say where the largest packs do not fit the memory of this machine together."""
    if executor != "ray" and device == "cpu" and (line := lacking_memory(cut, workers)):
        say(line)


def train_missing(study: Study, store: Store, launch: Launch) -> list[Standing]:
    """Train what is to do, and how every run stands then: what failed is still to do.

    Raises `ValueError` on a damaged record and where data, device or folder are not there.
    """
    standings = standings_of(study, store)
    refuse_damaged(standings)
    _say_what_stays(standings, launch)
    todo = launch.to_do(standings)
    if not todo:
        keep(study, store.folder)
        say(f"{study.name}: nothing to do, every run is there")
        return standings
    _say_what_never_comes([s.run.train for s in standings if s.digest in todo])
    with launch.place() as place:
        _train(place, study, store, launch, standings, todo)
    return standings_of(study, store, [s for s in standings if s.digest not in todo])


def say_what_is_lost(study: Study, standings: Sequence[Standing], launch: Launch) -> bool:
    """Say how many runs failed, are left or diverged, or have records that cannot be read; whether
    any of these but divergence, or nothing else is there."""
    todo, diverged = launch.to_do(standings), count(standings)["diverged"]
    failed = sum(s.digest in todo and s.state == "failed" for s in standings)
    unread = sum(standing.state in UNTRUSTED for standing in standings)
    words = {"failed": failed, "are still to do": len(todo) - failed, "diverged": diverged}
    words["have records that cannot be read"] = unread
    for what, number in words.items():
        if number:
            listed = f"`hvae status {study.argument}`, narrowed alike, lists them"
            say(f"{number} of {len(standings)} runs {what}; {listed}")
    return len(todo) + unread > 0 or diverged == len(standings)


def _say_what_never_comes(trains: Sequence[TrainConfig]) -> None:
    """Say what the runs ask for that their last epoch comes before."""
    late = {
        "train.kl_warmup_epochs": sum(t.kl_warmup_epochs >= t.epochs for t in trains),
        "train.rate_steps": sum(max(t.rate_steps, default=0) >= t.epochs for t in trains),
    }
    for name, number in late.items():
        if number:
            say(f"{name}: {number} of {len(trains)} runs end before it does")


def _say_what_stays(standings: Sequence[Standing], launch: Launch) -> None:
    stale, n = count(standings)["stale"], len(without_weights(standings))
    if stale and not launch.redo_stale:
        say(f"not redone: {counted(stale, 'stale record')}; --redo-stale does it")
    if n and launch.keeps_weights:
        say(f"trained again for want of weights: {counted(n, 'recorded run')}; no record changes")


def _train(
    place: Place,
    study: Study,
    store: Store,
    launch: Launch,
    standings: Sequence[Standing],
    todo: set[str],
) -> None:
    """Validate everything; time what was not timed before, while the machine is idle; train."""
    device = place.device
    missing = (launch.located(s.run) for s in standings if s.digest in todo)
    found_here = conditions(missing, launch, place)
    asked = list(map(launch.located, runs(study)))
    chosen = packing(device, len(standings), place.workers)
    cut = packs(study.name, asked, todo, chosen, variant_of(study))
    if device == "cpu" and (line := place.ask(too_large, cut)):
        raise ValueError(line)
    say_what_lacks_memory(cut, place.workers, launch.executor, device)
    store.open_for_writing()
    keep(study, store.folder)
    wanted = [run for pack in cut for run in pack.runs]
    present = [s.record for s in standings if s.record and s.digest not in todo]
    shown = Display(study.name, cut, labels(study), present, is_timed=launch.is_timed)
    now = partial(survey, store, sources_sha256=found_here.sources_sha256)
    timing = Timing(
        device,
        found_here.sources_sha256,
        found_here.data_dir,
        seconds_for(cut, device, place.workers),
        place.ask(machine, device),
        names_node=launch.executor == "ray",
    )
    try:
        with (
            shown.bar,
            Claims(store.folder / CLAIMS) as claims,
            place.open(len(cut)) as workers,
        ):
            sharing = Sharing(claims, now, launch.to_do, shown)
            with sharing.timing() if launch.is_timed else nullcontext():
                blocks = throughput(wanted, store.folder, workers, timing, launch.is_timed)
            run_study(cut, store, workers, found_here, blocks, sharing)
    except KeyboardInterrupt:
        say(f"{study.name}: finished runs are kept; the same command resumes")
        raise


def conditions(asked: Iterable[RunConfig], launch: Launch, place: Place) -> Conditions:
    """What these runs are trained under. Raises `ValueError` where data or device are not there."""
    from hvae.data import mnist

    sources = code()  # before anything that takes time: the workers refuse any other
    if "git_error" in sources:
        say(f"records will carry no commit: {sources['git_error']}")
    directory = mnist.data_dir(launch.data_dir)
    if launch.executor == "ray":  # its workers are at home elsewhere
        directory = directory.absolute()
    data = tuple({run.data: None for run in asked})
    place.ask(partial(require_there, data, directory), place.device)
    return Conditions(directory, place.device, sources, keeps_weights=launch.keeps_weights)


def require_there(data: Iterable[DataConfig], data_dir: Path, device: str) -> None:
    """Raise `ValueError` where data or the device are not there; for a CPU build its step."""
    from hvae.data.images import require_images
    from hvae.native.build import library

    for asked in data:
        require_images(asked, data_dir)
    if resolve_device(device) == "cpu":
        library(is_double=False)  # built once, for the workers to find; else a warning says why not


def run_study(
    packs: Sequence[Pack],
    store: Store,
    executor: Executor,
    conditions: Conditions,
    throughput: dict[RunConfig, Throughput],
    sharing: Sharing,
) -> None:
    """Train the packs, as far as nobody else does; record each run as it ends, and what fails for
    good as failed."""

    def advance(task: Task, done: int, total: int) -> None:
        sharing.shown.advance(task.pack, done, total)

    recording = Recording(store, sharing)
    while packs:
        again: list[Pack] = []
        tasks = (
            Task(pack, conditions, own_throughput(pack, throughput)) for pack in sharing.take(packs)
        )
        for outcome in executor.map(run_pack, tasks, advance):
            if outcome.result is not None:
                recording.publish(outcome.result)
            else:
                assert outcome.error is not None
                left = without(outcome.task.pack, recording.recorded)
                parts = recording.retries(left, outcome.error)
                again += parts
                sharing.shown.replace(outcome.task.pack, parts)
                if not parts:
                    recording.fail(left, outcome.error)
        packs = again + sharing.rest()


def own_throughput(
    pack: Pack, throughput: dict[RunConfig, Throughput]
) -> dict[RunConfig, Throughput]:
    """The throughput of its own shapes: a task may have far to go."""
    return {one: throughput[one] for one in map(shape, pack.members) if one in throughput}
