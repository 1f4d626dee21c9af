"""`hvae status`: every run by key, and how it stands."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from ablations.cli.options import json_option, print_json
from ablations.cli.study_options import takes_study
from ablations.grid import labels
from ablations.run.launch import standings_of
from ablations.studies import Study
from ablations.terminal import printable
from hvae.config import as_dict
from hvae.records.standings import Standing, count
from hvae.records.store import Store


@click.command()
@takes_study
@json_option
def status(study: Study, store: Store, as_json: bool) -> None:
    """List every run by key, and how it stands.

    A run is done, diverged (its loss is no number), missing, failed, stale (made by other sources
    of hvae) or damaged. Exit code 1 if any failed or is damaged.

    \b
    Example:
      hvae status quick
    """
    standings = standings_of(study, store)
    document = summary_dict(study, store, standings)
    if as_json:
        found = {
            s.digest: {"state": s.state, "reason": s.reason, "config": as_dict(s.run)}
            for s in standings
        }
        print_json(document | {"runs": found})
    else:
        click.echo(summary_line(document))
        words = labels(study)
        for standing in standings:
            reason = f": {standing.reason}" if standing.reason else ""
            run = printable(f"{words[standing.digest]}{reason}")
            click.echo(f"{standing.digest}  {standing.state:<8} {run}")
    if any(standing.state in ("failed", "damaged") for standing in standings):
        sys.exit(1)


def summary_dict(study: Study, store: Store, standings: Sequence[Standing]) -> dict[str, Any]:
    """How many runs there are and how they stand, ready for JSON."""
    return {"study": study.name, "results": str(store.folder), "counts": count(standings)}


def summary_line(document: dict[str, Any]) -> str:
    """What `summary_dict` holds, in a line."""
    counts = document["counts"]
    counted = ", ".join(f"{n} {state}" for state, n in counts.items())
    folder = printable(document["results"])
    return f"{document['study']}: {sum(counts.values())} runs in {folder}: {counted}"
