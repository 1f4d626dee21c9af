"""`hvae reproduce`: train the documented setting, measure its pictures, write the page of both."""

from pathlib import Path

import click

from ablations.cli.options.common import (
    data_dir_option,
    debug_option,
    device_option,
    redo_stale_option,
    results_option,
)
from ablations.run.launch import Launch
from ablations.run.reproduction import measure_pictures, study_of, train_documented
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
@redo_stale_option
@results_option("Folder of the records: DIR/reproduce, for digits DIR/reproduce-digits.")
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
@debug_option
def reproduce(
    data: str,
    data_dir: Path | None,
    device: str,
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

    directory, study = mnist.data_dir(data_dir), study_of(data)
    store = Store(results / study.name)
    launch = Launch(directory, device, redo_stale=redo_stale, keeps_weights=True)
    try:
        train_documented(study, store, launch)
        measure_pictures(study, store, directory)
    except ValueError as error:
        if not str(error).startswith("mnist: "):
            raise
        raise ValueError(f"{error}; `hvae reproduce --data digits` works offline") from error
    page = write_reproduction(store.folder)[0]
    click.echo(page)
    if is_opened:
        click.launch(str(page))
