"""`hvae data`: where datasets come from."""

from pathlib import Path

import click

from ablations.cli.options.common import data_dir_option, debug_option
from hvae.datasets import DATASETS


@click.group(no_args_is_help=False)
def data() -> None:
    """Datasets: where they come from.

    \b
    Example:
      hvae data fetch mnist
    """


@data.command()
@click.argument("name", type=click.Choice(tuple(DATASETS)), metavar="NAME")
@data_dir_option
@debug_option
def fetch(name: str, data_dir: Path | None) -> None:
    """Download a dataset through torchvision; print the folder it lies in.

    NAME is digits (comes with scikit-learn), mnist, fashion-mnist, kmnist or emnist-digits.

    \b
    Example:
      hvae data fetch mnist
    """
    from hvae.data.download import fetch as download
    from hvae.data.mnist import data_dir as data_folder

    if DATASETS[name].is_bundled:
        click.echo(f"{name} comes with scikit-learn: nothing to fetch", err=True)
        return
    click.echo(download(name, data_folder(data_dir)))
