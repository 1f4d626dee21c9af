"""The command line: translate, call, print. Nothing heavy is imported before it is needed.

Exit codes: 0 fine, 1 the work found a failure, 2 the input was wrong, 3 inconclusive (the gate),
130 interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ablations.benching import bench
from ablations.executors import worker_count
from ablations.gating import gate
from ablations.grid import PACK_SIZES, pack_size, packs, runs
from ablations.launching import Launch, standings_of, train, warn_of_stale
from ablations.listing import (
    plan_dict,
    plan_lines,
    standing_line,
    standings_dict,
    study_lines,
    summary,
    summary_dict,
)
from ablations.options import (
    OneLineErrors,
    data_dir_option,
    debug_option,
    device_option,
    json_option,
    print_json,
    redo_stale_option,
    takes_study,
    workers_option,
)
from ablations.reporting import FORMATS, current_report, rewrite_report
from ablations.reproducing import reproduce
from ablations.sampling import sample
from ablations.studies import PRESETS, Study
from ablations.survey import Standing, refuse_damaged, to_run, without_weights
from hvae import __version__
from hvae.config import DATASETS
from hvae.records import Store


@click.group(cls=OneLineErrors)
@click.version_option(__version__, prog_name="hvae")
@debug_option
def main() -> None:
    """Ablations of a hierarchical VAE on handwritten digits: train, compare, report.

    \b
    Example:
      hvae run quick
    """


main.add_command(bench)
main.add_command(gate)
main.add_command(reproduce)
main.add_command(sample)


@main.command()
@debug_option
def studies() -> None:
    """List the studies: question, axes, number of runs, expected cost.

    \b
    Example:
      hvae studies
    """
    for study in PRESETS.values():
        click.echo("\n".join(study_lines(study)))


@main.command()
@takes_study
@click.option(
    "--device",
    type=click.Choice(tuple(PACK_SIZES)),
    default="cpu",
    show_default=True,
    help="Device to pack for.",
)
@workers_option
@json_option
def plan(study: Study, folder: Path, device: str, workers: int | None, as_json: bool) -> None:
    """Show what would run, how it packs, and what it costs.

    What is already there is counted, and left out of the packs.

    \b
    Example:
      hvae plan standard --depth 2 --seeds 1
    """
    standings = standings_of(study, Store(folder))
    refuse_damaged(standings)
    at_once = worker_count("local", device, workers)
    size = pack_size(device, len(standings), at_once)
    cut = packs(study.name, runs(study), to_run(standings), size)
    if as_json:
        print_json(
            {**summary_dict(study, folder, standings), **plan_dict(cut, size, device, at_once)}
        )
    else:
        click.echo(
            "\n".join([summary(study, folder, standings), *plan_lines(cut, device, at_once)])
        )


@main.command()
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
    no_report: bool,
) -> None:
    """Run what is missing, then write the report and print its path.

    Run again to resume: what is recorded is not redone, what failed is retried.

    \b
    Examples:
      hvae run quick
      hvae run quick --depth 1 --depth 2 --loss bce --latent 2 --seeds 1 --epochs 2
    """
    store = Store(folder)
    standings = standings_of(study, store)
    refuse_damaged(standings)
    todo = to_run(standings, redo_stale, keeps_weights)
    warn_of_stale(standings, redo_stale)
    if keeps_weights:
        _say_what_is_trained_again(standings)
    failed = 0
    if todo:
        launch = Launch(data_dir, device, workers, executor, redo_stale, keeps_weights)
        failed = train(study, store, launch)
    else:
        click.echo(f"{study.name}: nothing to do, all {len(standings)} runs are there", err=True)
    if not no_report:
        click.echo(current_report(study, store))
    if failed:
        counted = f"{failed} of {len(standings)} runs failed"
        click.echo(f"{counted}; `hvae status {study.name}` lists them", err=True)
        sys.exit(1)


@main.command()
@takes_study
@json_option
def status(study: Study, folder: Path, as_json: bool) -> None:
    """List every run by key, and how it stands.

    A run is done, missing, failed, stale (made by other sources of hvae) or damaged. Exit code 1
    if any failed or is damaged.

    \b
    Example:
      hvae status quick
    """
    standings = standings_of(study, Store(folder))
    if as_json:
        print_json({**summary_dict(study, folder, standings), "runs": standings_dict(standings)})
    else:
        lines = [summary(study, folder, standings), *map(standing_line, standings)]
        click.echo("\n".join(lines))
    if any(standing.state in ("failed", "damaged") for standing in standings):
        sys.exit(1)


@main.command()
@takes_study
@click.option(
    "--format",
    "formats",
    default=FORMATS,
    show_default=True,
    metavar="LIST",
    help="What to write, comma-separated: html, latex, csv, md, png, pdf.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
def report(study: Study, folder: Path, formats: str, is_opened: bool) -> None:
    """Write tables, figures and the page from the records.

    Prints the paths of what it wrote, the page first.

    \b
    Example:
      hvae report quick --format html,csv
    """
    store = Store(folder)
    if not store.finished():
        raise ValueError(f"results: no record under {folder}; run `hvae run {study.name}` first")
    wanted = formats.split(",")
    if is_opened and "html" not in wanted:
        raise ValueError(f"--open: needs html among the formats; got {formats!r}")
    written = rewrite_report(study, store, wanted)
    for path in written:
        click.echo(path)
    if is_opened:
        click.launch(str(written[0]))


@main.group(no_args_is_help=False)
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
      hvae data fetch digits
    """
    from hvae import data as datasets

    if name == datasets.BUNDLED:
        click.echo(f"{name} comes with scikit-learn: nothing to fetch", err=True)
        return
    click.echo(datasets.fetch(name, datasets.data_dir(data_dir)))


def _say_what_is_trained_again(standings: Sequence[Standing]) -> None:
    again = len(without_weights(standings))
    if again:
        click.echo(
            f"{again} recorded runs have no weights: trained again to keep them, records stay",
            err=True,
        )
