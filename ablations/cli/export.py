"""`hvae export`: the records of a study in an experiment tracker."""

import click

from ablations.cli.options.study import takes_study
from ablations.run.launch import standings_of
from ablations.studies import Study
from ablations.terminal import printable
from hvae.records.store import Store


@click.command()
@takes_study
@click.option(
    "--to",
    required=True,
    metavar="mlflow:URI|tensorboard:DIR",
    help="Address of an MLflow server or store, or a folder that TensorBoard reads.",
)
def export(study: Study, store: Store, to: str) -> None:
    """Export recorded runs to MLflow or TensorBoard, each once.

    Settings, metrics, curves, pictures and what made them, one run a record. Runs that are there
    stay; one whose record was redone is replaced. Nothing is written to the results.

    \b
    Examples:
      hvae export quick --to tensorboard:~/tensorboard
      hvae export quick --to mlflow:http://localhost:5000
      hvae export quick --to mlflow:sqlite:///mlflow.db
    """
    from ablations.trackers.export import export_records

    done = export_records(study, store, standings_of(study, store), to)
    runs = "run" if done.written == 1 else "runs"
    there = f"{done.present} there already"
    click.echo(printable(f"{study.name}: {done.written} {runs} exported, {there}, in {done.where}"))
