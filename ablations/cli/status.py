"""`hvae status`: every run by key, and how it stands."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from ablations.cli.options.common import json_option, print_json
from ablations.cli.options.study import takes_study
from ablations.grid import labels
from ablations.run.launch import standings_of
from ablations.studies import Study
from ablations.terminal import printable
from hvae.config import as_dict
from hvae.records.standings import UNTRUSTED, Standing, count
from hvae.records.store import Store
from report.render.numbers import counted


@click.command()
@takes_study
@json_option
def status(study: Study, store: Store, as_json: bool) -> None:
    """List every run by key, the digest of its settings, and how it stands.

    A run is done, diverged (its loss is no number), missing, failed, stale (made by other sources
    of hvae), damaged or unreadable (the system does not let it be read). Exit code 1 if any failed,
    is damaged or unreadable.

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
            click.echo(f"{standing.digest}  {standing.state:<10} {run}")
    if any(standing.state in ("failed", *UNTRUSTED) for standing in standings):
        sys.exit(1)


def summary_dict(study: Study, store: Store, standings: Sequence[Standing]) -> dict[str, Any]:
    """How many runs there are and how they stand, and how many are recorded beside those that are
    asked for, as with other settings; ready for JSON."""
    unasked = store.finished() - {standing.digest for standing in standings}
    found = {"study": study.name, "results": str(store.folder), "counts": count(standings)}
    return found | {"unasked": len(unasked)}


def summary_line(document: dict[str, Any]) -> str:
    """What `summary_dict` holds, in a line."""
    counts = document["counts"]
    states = ", ".join(f"{n} {state}" for state, n in counts.items())
    asked = counted(sum(counts.values()), "run")
    folder = printable(document["results"])
    others = f"; others recorded: {document['unasked']}" if document["unasked"] else ""
    return f"{document['study']}: {asked} in {folder}: {states}{others}"
