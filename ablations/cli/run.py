"""`hvae run`: train what is missing, then write the report."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ablations.cli.options import (
    data_dir_option,
    device_option,
    redo_stale_option,
    workers_option,
)
from ablations.cli.study_options import takes_study
from ablations.run.current_report import current_report
from ablations.run.launch import Launch, Trained, standings_of, train, warn_of_stale
from ablations.run.messages import say
from ablations.studies import Study
from hvae.records.standings import Standing, count, refuse_damaged, to_run, without_weights
from hvae.records.store import Store


@click.command()
@takes_study
@data_dir_option
@device_option("Where to train")
@workers_option
@click.option(
    "--executor",
    type=click.Choice(("local", "serial")),
    default="local",
    show_default=True,
    help="Worker processes on this machine, or this process alone.",
)
@redo_stale_option
@click.option(
    "--keep-weights",
    "keeps_weights",
    is_flag=True,
    help="Keep each run's weights beside its record; a recorded run without is trained again.",
)
@click.option("--no-throughput", is_flag=True, help="Time nothing; what was timed before is kept.")
@click.option("--no-report", is_flag=True, help="Write no report.")
def run(
    study: Study,
    folder: Path,
    data_dir: Path | None,
    device: str,
    workers: int | None,
    executor: str,
    redo_stale: bool,
    keeps_weights: bool,
    no_throughput: bool,
    no_report: bool,
) -> None:
    """Run what is missing, then write the report and print its path.

    Run again to resume: what is recorded is not redone, what failed is retried.

    \b
    Examples:
      hvae run quick
      hvae run quick --depth 1 --depth 2 --loss bce --latent 2 --seeds 1 --epochs 2
      hvae run quick --vary train.learning_rate=1e-3,3e-3 --set train.epochs=10
    """
    store = Store(folder)
    standings = standings_of(study, store)
    refuse_damaged(standings)
    todo = to_run(standings, redo_stale, keeps_weights)
    warn_of_stale(standings, redo_stale)
    if keeps_weights:
        _say_what_is_trained_again(standings, redo_stale)
    trained = Trained(0, count(standings)["diverged"])
    if todo:
        launch = Launch(
            *(data_dir, device, workers, executor, redo_stale, keeps_weights), not no_throughput
        )
        trained = train(study, store, launch, standings)
    else:
        say(f"{study.name}: nothing to do, all {len(standings)} runs are there")
    if not no_report:
        known = [standing for standing in standings if standing.digest not in todo]
        click.echo(current_report(study, store, standings_of(study, store, known)))
    _exit_with_one_where_it_failed(study, trained, len(standings))


def _exit_with_one_where_it_failed(study: Study, trained: Trained, total: int) -> None:
    """Say how many failed, and how many ended in no number; exit 1 for any of the former, or where
    all did the latter."""
    for number, what in zip(trained, ("failed", "diverged"), strict=True):
        if number:
            say(f"{number} of {total} runs {what}; `hvae status {study.argument}` lists them")
    if trained.failed or trained.diverged == total:
        sys.exit(1)


def _say_what_is_trained_again(standings: Sequence[Standing], redo_stale: bool) -> None:
    again = len(without_weights(standings))
    stale = sum(s.state == "stale" and not s.has_weights for s in standings)
    if again:
        say(f"{again} recorded runs have no weights: trained again to keep them, records stay")
    if stale and not redo_stale:
        say(f"{stale} stale records have no weights; only --redo-stale keeps them")
