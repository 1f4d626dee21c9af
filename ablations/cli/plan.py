"""`hvae studies`, `hvae plan`: what can be asked, and what would run."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import click

from ablations.cli.options.common import (
    debug_option,
    device_option,
    executor_option,
    json_option,
    print_json,
    redo_stale_option,
    workers_option,
)
from ablations.cli.options.study import takes_study
from ablations.cli.status import summary_dict, summary_line
from ablations.grid import (
    Pack,
    cost,
    memory,
    packing,
    packs,
    runs,
    variant_of,
)
from ablations.prediction import predict
from ablations.presets import PRESETS
from ablations.run.executors import choose, resolve_device
from ablations.run.launch import require_workers, say_what_lacks_memory, standings_of
from ablations.studies import Study
from ablations.terminal import printable
from hvae.closed_form import run_parameters
from hvae.records.standings import refuse_damaged, to_run
from hvae.records.store import Store
from hvae.settings import digest
from report.render.numbers import counted


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
@device_option("Device to pack for")
@workers_option
@executor_option
@redo_stale_option
@json_option
def plan(
    study: Study,
    store: Store,
    device: str,
    workers: int | None,
    executor: str,
    redo_stale: bool,
    as_json: bool,
) -> None:
    """Show what would run, how it packs, and what it costs.

    What is already there is counted, and left out of the packs. Seconds are predicted from what
    this machine does in a short trial (on a GPU from what an H200 is expected to do), with
    evaluation, without throughput and report; of a cluster as if its nodes were like it.

    \b
    Examples:
      hvae plan standard --depth 2 --seeds 1
      hvae plan quick --vary train.kl_weight=0.5,1 --set train.epochs=10
      hvae plan standard --executor ray --workers 64
    """
    standings = standings_of(study, store)
    refuse_damaged(standings)
    require_workers(executor, workers)
    device = resolve_device(device) if device == "auto" else device
    at_once = choose(executor, device, workers).workers
    chosen = packing(device, len(standings), at_once)
    todo = to_run(standings, redo_stale)
    cut = packs(study.name, runs(study), todo, chosen, variant_of(study))
    document = summary_dict(study, store, standings) | plan_dict(cut, chosen.size, device, at_once)
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join([summary_line(document), *plan_lines(document)]))
    say_what_lacks_memory(cut, at_once, executor, device)


def study_lines(study: Study) -> list[str]:
    """Name, size and budget; the question; variants, axes, seeds and settings, as commands name
    them."""
    cost_text = f"{_gflop(sum(map(cost, runs(study))) / 1e9)} to train, {study.budget}"
    swept = [f"{name} {', '.join(map(str, values))}" for name, values in study.axes.items()]
    variants = ", ".join(variant.name for variant in study.variants)
    common = ", ".join(f"{name} {value}" for name, value in study.settings.items())
    parts = [
        variants and f"variants {variants}",
        *swept,
        counted(study.seeds, "seed"),
        common,
    ]
    return [
        f"{study.name}: {counted(len(study.cells) * study.seeds, 'run')}, {cost_text}",
        f"    {study.question}",
        f"    {'; '.join(filter(None, parts))}",
    ]


def plan_dict(packs: Sequence[Pack], size: int, device: str, workers: int) -> dict[str, Any]:
    """The packs, longest first, and the sizes and cost they come to; seconds and bytes are
    predictions."""
    predicted = predict(packs, device)
    return {
        "pack_size": size,
        "device": device,
        "workers": workers,
        "seconds": predicted.wall_seconds(packs, workers),
        "gflop": sum(pack.cost for pack in packs) / 1e9,
        "packs": [
            {
                "label": pack.label,
                "runs": [digest(run) for run in pack.runs],
                "parameters": sum(map(run_parameters, pack.runs)),
                "gflop": pack.cost / 1e9,
                "seconds": predicted.seconds(pack),
                "memory_bytes": memory(pack),
            }
            for pack in packs
        ],
    }


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """A line for each stretch of packs of which the same is said, and the sum of all."""
    packs = plan["packs"]
    lines = []
    first = 1
    for text, alike in groupby(map(_pack_text, packs)):
        last = first + sum(1 for _ in alike) - 1
        lines.append(
            f"pack {first}: {text}" if first == last else f"packs {first}-{last}, each: {text}"
        )
        first = last + 1
    members = sum(len(pack["runs"]) for pack in packs)
    trained = f"{counted(members, 'run')} in {counted(len(packs), 'pack')}"
    end = f"to train: {trained}, {_gflop(plan['gflop'])}"
    wall = f"about {_duration(plan['seconds'])} on {counted(plan['workers'], 'worker')}"
    idle = max(0, plan["workers"] - len(packs)) if packs else 0
    return [*lines, f"{end}; with evaluation {wall}" + (f", {idle} of them idle" if idle else "")]


def _pack_text(pack: dict[str, Any]) -> str:
    return (
        f"{printable(pack['label'])}, {pack['parameters']:,} parameters, {_gflop(pack['gflop'])}, "
        f"about {_duration(pack['seconds'])}, {pack['memory_bytes'] / 1e6:.0f} MB"
    )


def _duration(value: float) -> str:
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _gflop(value: float) -> str:
    """Whole GFLOP, but one digit of what is less than one."""
    return f"{value:,.0f} GFLOP" if value >= 1 else f"{value:.1g} GFLOP"
