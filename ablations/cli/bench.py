"""`hvae bench`: measure the throughput ladder of this machine, keep it, print it."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablations.cli.options.common import (
    COUNT,
    data_dir_option,
    debug_option,
    device_option,
    is_given,
    json_option,
    print_json,
    progress_line,
    refuse_unused,
    results_option,
)
from ablations.grid import PACK_SIZES
from hvae.datasets import DATASETS
from hvae.processes import WorkerFailed
from hvae.records.files import prove_writable, slug
from hvae.records.provenance import device_name

if TYPE_CHECKING:  # importing this module must not import torch
    from bench.ladder.ladder import Ladder
    from bench.ladder.rungs import Rung, Source

# Those the documented loop can read: EMNIST has other files.
READABLE = [name for name, data in DATASETS.items() if data.test == "t10k" and not data.is_bundled]
PACKS = {"cpu": (5, 10, 20), "cuda": (50, 100, 200)}


@click.command()
@click.option(
    "--rounds",
    type=click.IntRange(min=2),
    default=7,
    show_default=True,
    metavar="COUNT",
    help="Times each rung is measured, in an order drawn anew each time.",
)
@click.option(
    "--pack",
    "packs",
    type=COUNT,
    multiple=True,
    metavar="MODELS",
    help="Models trained as one; repeat for several.  [default: 5, 10, 20; cuda: 50, 100, 200]",
)
@device_option("Whose ladder")
@click.option("--no-compile", is_flag=True, help="Leave out the packs whose step is compiled C.")
@click.option(
    "--data", type=click.Choice(READABLE), default="mnist", show_default=True, help="Dataset."
)
@data_dir_option
@results_option("Where to keep it: DIR/bench/ladder-DEVICE.json (scaling-), over an earlier one.")
@click.option("--scaling", is_flag=True, help="Cost by runs of a pack, depth, latent and workers.")
@click.option("--counts", is_flag=True, help="Count operators, FLOPs and bytes instead: exact.")
@json_option
@debug_option
def bench(
    rounds: int,
    packs: tuple[int, ...],
    device: str,
    no_compile: bool,
    data: str,
    data_dir: Path | None,
    results: Path,
    scaling: bool,
    counts: bool,
    as_json: bool,
) -> None:
    """Measure the throughput ladder of this machine.

    From the documented training loop to packs of models on up to eight cores (or captured on a
    GPU), one after the other, on an otherwise idle machine: two to three minutes with the default
    options. Where the package `jax` is installed, the same pack in JAX is a rung beside them.

    \b
    Examples:
      hvae bench
      hvae bench --pack 10 --rounds 3 --no-compile
      hvae bench --scaling
      hvae bench --counts
    """
    if counts:
        unused = {"--scaling": scaling, "--pack": packs, "--no-compile": no_compile}
        names = ("rounds", "data", "data_dir", "results")
        unused |= {f"--{name.replace('_', '-')}": is_given(name) for name in names}
        refuse_unused(unused, "--counts")
        _print_counts(device, as_json)
        return
    from ablations.run.executors import resolve_device
    from bench.gate.storage import write_document
    from bench.ladder.rungs import Source
    from hvae.data import mnist

    folder = mnist.data_dir(data_dir)
    mnist.require(data, folder)
    device = resolve_device(device)
    if device == "cuda":
        refuse_unused({"--no-compile": no_compile}, "a GPU")
    if scaling and len(packs) > 1:
        raise ValueError(f"--pack: {len(packs)} sizes are given with --scaling; allowed: one")
    kind = "scaling" if scaling else "ladder"
    path = results / "bench" / f"{kind}-{slug(device_name(device))}.json"
    prove_writable(path.parent)
    source = Source(data, folder, DATASETS[data].training_images)
    measure = _scaling if scaling else _ladder
    document, lines = measure(device, packs, no_compile, source, rounds)
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(lines))
    write_document(path, document)  # last: what was measured has been said, should it not fit
    if not as_json:
        click.echo(path)


def _ladder(
    device: str, packs: tuple[int, ...], no_compile: bool, source: "Source", rounds: int
) -> tuple[dict[str, Any], list[str]]:
    """The ladder as a document, and as lines of text."""
    from bench.ladder.output import document, table

    found = document(_measure(_rungs(device, packs, no_compile), source, rounds))
    return found, table(found)


def _scaling(
    device: str, packs: tuple[int, ...], no_compile: bool, source: "Source", rounds: int
) -> tuple[dict[str, Any], list[str]]:
    """The cost of a step by what it depends on, as a document and as lines of text."""
    from bench.ladder.scaling import document, points, table

    engine = _engines(no_compile)[-1] if device == "cpu" else "traced"
    asked = points(device, _common_size(device, packs), engine)
    measured = _measure(list(dict.fromkeys(point.rung for point in asked)), source, rounds)
    found = document(measured, asked)
    return found, table(found)


def _print_counts(device: str, as_json: bool) -> None:
    """What the benchmarks of `hvae gate` do, as exact numbers; needs no data and no quiet."""
    from ablations.run.executors import resolve_device
    from hvae.processes import one_thread

    one_thread()
    from bench.gate.side.counts import UnstableCount, count_all

    try:
        found = count_all(resolve_device(device))
    except UnstableCount as error:
        raise WorkerFailed(str(error)) from error
    if as_json:
        print_json(dict(found))
        return
    for benchmark, counts in found.items():
        click.echo(benchmark)
        click.echo("\n".join(f"  {metric:<45} {count:>15,}" for metric, count in counts.items()))


def _rungs(device: str, packs: tuple[int, ...], no_compile: bool) -> "list[Rung]":
    from bench.ladder.rungs import cpu_rungs, cuda_rungs

    sizes = sorted(set(packs or PACKS[device]))
    # On a CPU it is held to one core, which not every system can do.
    can_hold = device == "cuda" or hasattr(os, "sched_setaffinity")
    has_jax = can_hold and find_spec("jax") is not None
    if device == "cuda":
        return cuda_rungs(sizes, has_jax)
    return cpu_rungs(sizes, _common_size(device, packs), _engines(no_compile), has_jax)


def _common_size(device: str, packs: tuple[int, ...]) -> int:
    """Runs of a pack: on a CPU as `hvae run` cuts it, on a GPU so many that it is busy; fewer where
    these are not among those asked for."""
    most, sizes = {"cpu": PACK_SIZES["cpu"], "cuda": 50}[device], packs or PACKS[device]
    return most if most in sizes else max(sizes)


def _engines(no_compile: bool) -> list[str]:
    from hvae.native.build import NO_COMPILER, c_compiler

    if no_compile:
        return ["traced"]
    if c_compiler() is None:
        click.echo(f"{NO_COMPILER}: no compiled packs", err=True)
        return ["traced"]
    return ["traced", "compiled"]


def _measure(rungs: "list[Rung]", source: "Source", rounds: int) -> "Ladder":
    """The ladder, with progress on stderr."""
    from bench.ladder.ladder import ladder

    with progress_line("bench") as progress:
        return ladder(rungs, source, rounds, progress)
