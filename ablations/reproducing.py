"""`hvae reproduce`: train the documented setting, measure its pictures, write the page of both."""

from dataclasses import dataclass, replace
from pathlib import Path

import click

from ablations.launching import Launch, standings_of, train, warn_of_stale
from ablations.options import (
    COUNT,
    data_dir_option,
    debug_option,
    device_option,
    redo_stale_option,
    results_option,
)
from ablations.outcomes import Progress
from ablations.studies import Study, narrow
from ablations.survey import refuse_damaged, to_run
from hvae.config import RunConfig, digest
from hvae.records import Store

DOCUMENTED = RunConfig()
STUDY = Study(
    name="reproduce",
    question="Are the documented results reproduced?",
    base=DOCUMENTED,
    depths=(DOCUMENTED.model.num_layers,),
    losses=(DOCUMENTED.train.loss,),
    latents=(DOCUMENTED.model.latent_dim,),
    budget="a quarter of an hour on one CPU core",
)


@dataclass(frozen=True)
class Measuring:
    """The finished run whose pictures a worker measures."""

    folder: Path
    run: RunConfig
    data_dir: Path


@click.command()
@click.option(
    "--data",
    type=click.Choice(("mnist", "digits")),
    default="mnist",
    show_default=True,
    help="Dataset; digits needs no download, and a model of 8 by 8 pixels.",
)
@data_dir_option
@device_option("Where to train")
@click.option("--epochs", type=COUNT, hidden=True, help="Fewer than documented, for tests.")
@click.option("--importance-samples", type=COUNT, hidden=True, help="Of the NLL, for tests.")
@redo_stale_option
@results_option("Folder of the records: DIR/reproduce, for digits DIR/reproduce-digits.")
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
@debug_option
def reproduce(
    data: str,
    data_dir: Path | None,
    device: str,
    epochs: int | None,
    importance_samples: int | None,
    redo_stale: bool,
    results: Path,
    is_opened: bool,
) -> None:
    """Reproduce the documented results: train, measure, write the page, print its path.

    Two levels, 784-100-20, BCE, 30 epochs of MNIST. Run again to resume: a finished training is
    not redone.

    \b
    Examples:
      hvae reproduce
      hvae reproduce --data digits
    """
    from hvae import data as datasets
    from report.reproduction import write_reproduction

    directory = datasets.data_dir(data_dir)
    try:
        datasets.require(data, directory)
    except ValueError as error:
        raise ValueError(f"{error}; `hvae reproduce --data digits` works offline") from error
    study = narrow(STUDY, epochs=epochs, data=data, importance_samples=importance_samples)
    study = study if data == "mnist" else replace(study, name=f"{study.name}-{data}")
    store = Store(results / study.name)
    _train(study, store, Launch(directory, device, redo_stale=redo_stale, keeps_weights=True))
    _measure(study, store, directory)
    page = write_reproduction(store.folder, data)[0]
    click.echo(page)
    if is_opened:
        click.launch(str(page))


def _train(study: Study, store: Store, launch: Launch) -> None:
    """The study's one run, unless it is there with its weights. Exit code 1 where it failed."""
    standings = standings_of(study, store)
    refuse_damaged(standings)
    warn_of_stale(standings, launch.redo_stale)
    if to_run(standings, launch.redo_stale, launch.keeps_weights):
        train(study, store, launch)
    (standing,) = standings_of(study, store)
    if standing.state not in ("done", "stale"):
        raise click.ClickException(f"{study.name}: the training failed: {standing.reason}")
    if store.read(standing.digest).status == "diverged":
        raise click.ClickException(f"{study.name}: the training diverged; there is nothing to show")
    if not standing.has_weights:
        raise ValueError(f"{study.name}: the stale record has no weights; --redo-stale redoes both")


def _measure(study: Study, store: Store, data_dir: Path) -> None:
    """Measure the pictures where that was not done of these weights by these sources, in a process
    prepared like every worker: so all compute alike."""
    from ablations.executors import Local
    from hvae.reproduction import is_current

    run = _only_run(study)
    if is_current(store.folder, digest(run), store.weights_path(digest(run)).read_bytes()):
        return
    click.echo(f"{study.name}: measuring samples, map and manifold, a minute at most", err=True)
    (outcome,) = Local(1).map(measure, [Measuring(store.folder, run, data_dir)])
    if outcome.error is not None:
        raise outcome.error


def measure(task: Measuring, progress: Progress) -> None:
    """Measure the pictures of a run whose weights were kept, and publish what was found."""
    from hvae import reproduction
    from hvae.attachments import read_weights
    from hvae.data import load
    from hvae.sampling import with_weights

    store = Store(task.folder)
    path = store.weights_path(digest(task.run))
    model = with_weights(task.run, read_weights(path))
    unit_kl = store.read(digest(task.run)).metrics["kl_per_unit_nats"][-1]
    measured = reproduction.measure(model, load(task.run.data, task.data_dir), unit_kl)
    reproduction.write(task.folder, digest(task.run), path.read_bytes(), measured)
    progress(1, 1)


def _only_run(study: Study) -> RunConfig:
    from ablations.grid import runs

    (run,) = runs(study)
    return run
