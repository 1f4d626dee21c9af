"""`hvae run`: train what is missing, then write the report."""

import sys
from typing import Any

import click

from ablations.cli.options.common import (
    data_dir_option,
    device_option,
    executor_option,
    redo_stale_option,
    refuse_unused,
    workers_option,
)
from ablations.cli.options.study import takes_study
from ablations.cli.report import FORMATS, rewrite_report
from ablations.run.launch import Launch, say_what_is_lost, train_missing
from ablations.studies import Study
from hvae.records.store import Store


@click.command()
@takes_study
@data_dir_option
@device_option("Where to train")
@workers_option
@executor_option
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Of the Ray cluster, which must run.  [default: $RAY_ADDRESS]",
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
@click.option(
    "--verify",
    is_flag=True,
    help="Train the first recorded run again instead, compare every number (made on another "
    "processor or engine: some, to 1 %), write nothing.",
)
def run(
    study: Study,
    store: Store,
    no_throughput: bool,
    no_report: bool,
    verify: bool,
    **options: Any,
) -> None:
    """Run what is missing, then write the report and print its path.

    Run again to resume: what is recorded is not redone, what failed is retried.

    \b
    Examples:
      hvae run quick
      hvae run quick --depth 1 --depth 2 --loss bce --latent 2 --seeds 1 --epochs 2
      hvae run quick --vary train.learning_rate=1e-3,3e-3 --set train.epochs=10
      hvae run standard --executor ray --workers 64
      hvae run quick --depth 2 --seeds 1 --verify
    """
    launch = Launch(is_timed=not no_throughput, **options)
    if verify:
        unused = {"--redo-stale": launch.redo_stale, "--keep-weights": launch.keeps_weights}
        refuse_unused(unused, "--verify")
        from ablations.run import verification

        verdict = verification.verify(study, store, launch)
        click.echo(verdict.line)
        sys.exit(int(not verdict.is_equal))
    standings = train_missing(study, store, launch)
    if not no_report:
        click.echo(rewrite_report(study, store, standings, FORMATS)[0])
    if say_what_is_lost(study, standings, launch):
        sys.exit(1)
