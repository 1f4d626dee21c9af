"""`hvae status`: every run by key, and how it stands."""

import sys
from pathlib import Path

import click

from ablations.cli.listing import standing_lines, standings_dict, summary, summary_dict
from ablations.cli.options import json_option, print_json
from ablations.cli.study_options import takes_study
from ablations.run.launch import standings_of
from ablations.studies import Study
from hvae.records.store import Store


@click.command()
@takes_study
@json_option
def status(study: Study, folder: Path, as_json: bool) -> None:
    """List every run by key, and how it stands.

    A run is done, diverged (its loss is no number), missing, failed, stale (made by other sources
    of hvae) or damaged. Exit code 1 if any failed or is damaged.

    \b
    Example:
      hvae status quick
    """
    standings = standings_of(study, Store(folder))
    if as_json:
        print_json({**summary_dict(study, folder, standings), "runs": standings_dict(standings)})
    else:
        lines = [summary(study, folder, standings), *standing_lines(study, standings)]
        click.echo("\n".join(lines))
    if any(standing.state in ("failed", "damaged") for standing in standings):
        sys.exit(1)
