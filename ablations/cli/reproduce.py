"""`hvae reproduce`: train the documented setting, measure its pictures, write the page of both."""

from dataclasses import replace
from pathlib import Path

import click

from ablations.cli.options import (
    COUNT,
    data_dir_option,
    debug_option,
    device_option,
    redo_stale_option,
    results_option,
)
from ablations.run.launch import Launch
from ablations.run.reproduction import (
    STUDY,
    TrainingFailed,
    measure_pictures,
    train_documented,
)
from ablations.studies import Study, narrow
from hvae.records.store import Store


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
    from hvae.data import mnist
    from report.reproduction.page import write_reproduction

    directory = mnist.data_dir(data_dir)
    try:
        mnist.require(data, directory)
    except ValueError as error:
        raise ValueError(f"{error}; `hvae reproduce --data digits` works offline") from error
    study = _study(data, epochs, importance_samples)
    store = Store(results / study.name)
    launch = Launch(directory, device, redo_stale=redo_stale, keeps_weights=True)
    try:
        train_documented(study, store, launch)
    except TrainingFailed as error:
        raise click.ClickException(str(error)) from error
    measure_pictures(study, store, directory)
    page = write_reproduction(store.folder)[0]
    click.echo(page)
    if is_opened:
        click.launch(str(page))


def _study(data: str, epochs: int | None, importance_samples: int | None) -> Study:
    """The documented run, of other data under a name of its own."""
    settings = {
        "data.name": data,
        "train.epochs": epochs,
        "evaluation.importance_samples": importance_samples,
    }
    study = narrow(STUDY, settings={name: v for name, v in settings.items() if v is not None})
    return study if data == "mnist" else replace(study, name=f"{study.name}-{data}")
