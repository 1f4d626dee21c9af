"""`hvae gate`: the performance gate, its verdict as an exit code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablations.cli.options import (
    COUNT,
    FilePath,
    debug_option,
    json_option,
    print_json,
    results_option,
)
from hvae.records.files import slug
from hvae.records.provenance import device_name

if TYPE_CHECKING:  # importing this module must not import what starts slowly
    from bench.gate.gate import Device, Outcome


@click.command()
@click.option("--base", metavar="REV", help="Compare with the merge-base of REV and HEAD.")
@click.option("--aa", is_flag=True, help="Compare HEAD with itself: every failure is false.")
@click.option(
    "--planted",
    type=click.FloatRange(min=0, min_open=True, max=20),
    metavar="PERCENT",
    help="Compare HEAD with itself plus so much work in its training step: must fail.",
)
@click.option(
    "--repeat",
    type=COUNT,
    default=1,
    show_default=True,
    metavar="TRIALS",
    help="Trials of --aa or --planted in all; those recorded before are counted in.",
)
@click.option("--under-load", is_flag=True, help="Keep a core busy during --aa or --planted.")
@click.option(
    "--judge",
    type=FilePath(exists=True, dir_okay=False),
    nargs=2,
    metavar="BASE.json HEAD.json",
    help="Judge two files that the gate wrote, instead of measuring.",
)
@click.option(
    "--device",
    type=click.Choice(("cpu", "cuda")),
    default="cpu",
    show_default=True,
    help="What to count and time on.",
)
@click.option(
    "--markdown",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Also write the verdict as the summary of a pull request.",
)
@results_option("Where to keep what was measured: DIR/bench/gate.")
@json_option
@debug_option
def gate(
    base: str | None,
    aa: bool,
    planted: float | None,
    repeat: int,
    under_load: bool,
    judge: tuple[Path, Path] | None,
    device: str,
    markdown: Path | None,
    results: Path,
    as_json: bool,
) -> None:
    """Is HEAD slower, heavier, or numerically other than its base?

    Numerics and exact counts first, then fresh pairs of processes side by side: ten seconds where
    no measured source changed, one to four minutes else. What is accepted on purpose goes into
    bench/waivers.txt. HEAD is the checkout as it stands, with uncommitted changes.

    Exit codes: 0 pass, 1 regression, 2 the input was wrong, 3 inconclusive.

    \b
    Examples:
      hvae gate --base origin/main
      hvae gate --aa --repeat 40
    """
    _require_one(base=base, aa=aa or None, planted=planted, judge=judge)
    _require_fitting(aa or planted is not None, repeat, under_load, markdown)
    chosen = _device(device, results)
    if aa or planted:
        _try_gate(chosen, planted or 0.0, repeat, under_load, results, as_json)
    else:
        outcome = _outcome(base, judge, chosen)
        _answer(outcome, markdown, as_json)
        sys.exit(outcome.exit_code)


def _require_one(**given: Any) -> None:
    """Raise `ValueError` unless one way to compare was asked for."""
    named = [f"--{name}" for name, value in given.items() if value is not None]
    if len(named) != 1:
        wanted = ", ".join(f"--{name}" for name in given)
        got = " and ".join(named) or "nothing"
        raise ValueError(f"gate: {got} given; allowed: one of {wanted}")


def _require_fitting(is_trial: bool, repeat: int, under_load: bool, markdown: Path | None) -> None:
    """Raise `ValueError` on what would be passed over in silence."""
    if not is_trial and (repeat != 1 or under_load):
        name = "--under-load" if under_load else "--repeat"
        raise ValueError(f"{name}: has a meaning with --aa and --planted only")
    if is_trial and markdown is not None:
        raise ValueError("--markdown: has a meaning with --base and --judge only")
    if markdown is not None and not markdown.parent.is_dir():
        raise ValueError(f"--markdown: {markdown.parent} is no folder; allowed: a file in one")


def _device(kind: str, results: Path) -> "Device":
    from ablations.run.executors import resolve_device
    from bench.gate.gate import Device

    name = device_name(resolve_device(kind))
    return Device(kind, name, results / "bench" / "gate" / slug(name))


def _outcome(base: str | None, judge: tuple[Path, Path] | None, device: "Device") -> "Outcome":
    from bench.gate.gate import compare, rejudge
    from bench.gate.revisions import checkout_root

    if judge is not None:
        return rejudge(*judge)
    with _progress() as progress:
        return compare(checkout_root(Path.cwd()), base, device, progress)


def _answer(outcome: "Outcome", markdown: Path | None, as_json: bool) -> None:
    from bench.gate import output as wording

    if markdown is not None:
        markdown.write_text(wording.markdown(outcome))
    if as_json:
        print_json(wording.as_dict(outcome))
    else:
        click.echo("\n".join(wording.lines(outcome)))


def _try_gate(
    device: "Device",
    percent: float,
    repeats: int,
    is_under_load: bool,
    results: Path,
    as_json: bool,
) -> None:
    """Run trials and print their record; exit code 1 where the gate itself was wrong."""
    from bench.gate import selftest as trials
    from bench.gate.revisions import checkout_root

    kind = f"planted-{percent:g}" if percent else "aa"
    load = "-loaded" if is_under_load else ""
    file = results / "bench" / "gate" / f"{kind}-{slug(device.name)}{load}.json"
    plan = trials.Plan(percent, is_under_load, repeats)
    with _progress() as progress:
        document = trials.run(
            checkout_root(Path.cwd()),
            plan,
            device._replace(folder=None),
            file,
            lambda line: click.echo(line, err=as_json),
            progress,
        )
    if as_json:
        print_json(document)
    else:
        click.echo(f"{trials.closing(document)}\n{file}")
    sys.exit(0 if trials.is_as_it_should_be(document) else 1)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What it does now, on stderr, if somebody watches."""
    from tqdm import tqdm

    form = "gate: {desc} {elapsed}"
    with tqdm(file=sys.stderr, bar_format=form, leave=False, disable=None) as bar:
        yield bar.set_description_str
