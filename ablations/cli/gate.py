"""`hvae gate`: the performance gate, its verdict as an exit code."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablations.cli.options.common import (
    COUNT,
    FilePath,
    debug_option,
    is_given,
    json_option,
    print_json,
    progress_line,
    refuse_unused,
    results_option,
)
from hvae.records.files import slug
from hvae.records.provenance import device_name

if TYPE_CHECKING:  # importing this module must not import what starts slowly
    from bench.gate.gate import Device

INCONCLUSIVE = 3  # the exit code where nothing else is asked for


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
    help="Judge two files that the gate wrote, instead of measuring; waivers are left aside.",
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
@click.option(
    "--inconclusive-exit",
    type=click.IntRange(0, 255),
    default=INCONCLUSIVE,
    show_default=True,
    metavar="CODE",
    help="Exit code where the gate cannot tell; 125 has `git bisect run` skip the commit.",
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
    inconclusive_exit: int,
    results: Path,
    as_json: bool,
) -> None:
    """Is HEAD slower, heavier, or numerically other than its base?

    Numerics and exact counts first, then fresh pairs of processes side by side: ten seconds where
    no measured source changed, two to five minutes else. What is accepted on purpose goes into
    bench/waivers.txt, and counts once that is committed. HEAD is the checkout as it stands, with
    uncommitted changes.

    Exit codes: 0 pass, 1 regression (of --aa a false alarm, of --planted more than one in ten
    missed), 2 the input was wrong, 3 inconclusive (--inconclusive-exit).

    \b
    Examples:
      hvae gate --base origin/main
      hvae gate --aa --repeat 40
      hvae gate --base v1.0 --inconclusive-exit 125
    """
    ways = {"--base": base, "--aa": aa or None, "--planted": planted, "--judge": judge}
    _require_fitting(ways, repeat, under_load, markdown)
    chosen = _device(device, results)
    if aa or planted:
        _try_gate(chosen, planted or 0.0, repeat, under_load, results, as_json)
    else:
        code = _compare(chosen, base, judge, markdown, as_json)
        sys.exit(inconclusive_exit if code == INCONCLUSIVE else code)


def _require_fitting(
    ways: dict[str, Any], repeat: int, under_load: bool, markdown: Path | None
) -> None:
    """Raise `ValueError` unless one way to compare was asked for, and nothing that it would pass
    over in silence."""
    given = [name for name, value in ways.items() if value is not None]
    if isinstance(planted := ways["--planted"], float) and math.isnan(planted):
        raise ValueError("--planted: nan is not allowed; allowed: 0 < PERCENT ≤ 20")
    if len(given) != 1:
        got = " and ".join(given) or "nothing"
        raise ValueError(f"gate: {got} given; allowed: one of {', '.join(ways)}")
    is_trial = given[0] in ("--aa", "--planted")
    unused = {
        "--repeat": repeat != 1 and not is_trial,
        "--under-load": under_load and not is_trial,
        "--markdown": markdown is not None and is_trial,
        "--inconclusive-exit": is_given("inconclusive_exit") and is_trial,
        "--results": is_given("results") and given[0] == "--judge",
        "--device": is_given("device") and given[0] == "--judge",
    }
    refuse_unused(unused, given[0])
    if markdown is not None and not markdown.parent.is_dir():
        raise ValueError(f"--markdown: {markdown.parent} is no folder; allowed: a file in one")


def _device(kind: str, results: Path) -> "Device":
    from ablations.run.executors import resolve_device
    from bench.gate.gate import Device

    name = device_name(resolve_device(kind))
    return Device(kind, name, results / "bench" / "gate" / slug(name))


def _compare(
    device: "Device",
    base: str | None,
    judge: tuple[Path, Path] | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Measure or judge and print the answer; its exit code."""
    from bench.gate import output as wording
    from bench.gate.gate import compare, rejudge
    from bench.gate.revisions import checkout_root

    if judge is not None:
        outcome = rejudge(*judge)
    else:
        with progress_line("gate") as progress:
            outcome = compare(checkout_root(Path.cwd()), base, device, progress)
    if as_json:
        print_json(wording.as_dict(outcome))
    else:
        click.echo("\n".join(wording.lines(outcome)))
    if markdown is not None:  # last: what was measured has been said, should it not be writable
        markdown.write_text(wording.markdown(outcome), encoding="utf-8")
    return outcome.exit_code


def _try_gate(
    device: "Device",
    percent: float,
    repeats: int,
    is_under_load: bool,
    results: Path,
    as_json: bool,
) -> None:
    """Run trials and print their record; the exit code is that of a verdict on the gate itself."""
    from bench.gate import selftest as trials
    from bench.gate.gate import EXIT_CODES
    from bench.gate.revisions import checkout_root

    kind = f"planted-{percent:g}" if percent else "aa"
    load = "-loaded" if is_under_load else ""
    file = results / "bench" / "gate" / f"{kind}-{slug(device.name)}{load}.json"
    plan = trials.Plan(percent, is_under_load, repeats)

    def report(line: str) -> None:
        click.echo(line, err=as_json)

    with progress_line("gate") as progress:
        root = checkout_root(Path.cwd())
        document = trials.run(root, plan, device._replace(folder=None), file, report, progress)
    if as_json:
        print_json(document)
    else:
        click.echo(f"{trials.closing(document)}\n{file}")
    sys.exit(EXIT_CODES[trials.verdict(document)])
