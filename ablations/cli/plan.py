"""`hvae studies`, `hvae plan`: what can be asked, and what would run."""

from pathlib import Path

import click

from ablations.cli.listing import plan_dict, plan_lines, study_lines, summary, summary_dict
from ablations.cli.options import debug_option, json_option, print_json, workers_option
from ablations.cli.study_options import takes_study
from ablations.grid import PACK_SIZES, cost_limit, pack_size, packs, runs
from ablations.run.executors import worker_count
from ablations.run.launch import standings_of
from ablations.studies import PRESETS, Study
from hvae.records.standings import refuse_damaged, to_run
from hvae.records.store import Store


@click.command()
@debug_option
def studies() -> None:
    """List the studies: question, axes, number of runs, expected cost.

    \b
    Example:
      hvae studies
    """
    for study in PRESETS.values():
        click.echo("\n".join(study_lines(study)))


@click.command()
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
    Examples:
      hvae plan standard --depth 2 --seeds 1
      hvae plan quick --vary train.kl_weight=0.5,1 --set train.epochs=10
    """
    standings = standings_of(study, Store(folder))
    refuse_damaged(standings)
    at_once = worker_count("local", device, workers)
    size = pack_size(device, len(standings), at_once)
    cut = packs(study.name, runs(study), to_run(standings), size, cost_limit(device))
    if as_json:
        print_json(
            {**summary_dict(study, folder, standings), **plan_dict(cut, size, device, at_once)}
        )
    else:
        click.echo(
            "\n".join([summary(study, folder, standings), *plan_lines(cut, device, at_once)])
        )
