"""The options that choose among runs by their settings, and those that narrow or widen a study."""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from ablations.cli.options import COUNT, Command, debug_option, results_option
from ablations.studies import by_name, narrow
from ablations.study_files import load
from hvae.config import DATASETS, RunConfig, setting, value

STUDYS = "[default: the study's]"


class Own(NamedTuple):
    """A setting with an option of its own: what it is, and its unit for the help."""

    setting: str
    words: str
    metavar: str | None = None


OWN = {
    "depth": Own("depth", "Number of levels", "LEVELS"),
    "loss": Own("loss", "Reconstruction loss"),
    "latent": Own("latent", "Latent dimensions of a level", "DIMENSIONS"),
    "objective": Own("objective", "Training objective"),
    "epochs": Own("train.epochs", "Passes over the training images", "EPOCHS"),
    "data": Own("data.name", "Dataset"),
    "importance_samples": Own(
        "evaluation.importance_samples",
        "Samples per test image for the evaluation's NLL",
        "SAMPLES",
    ),
    "seed": Own("seed", "Seed it was trained with", "SEED"),
}
AXES = ("depth", "loss", "latent", "objective")  # whose options are repeated, each value swept
SINGLE = ("epochs", "data", "importance_samples")
SET = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other setting, as train.learning_rate=1e-3; repeat for several.",
)


def setting_option(
    name: str, hint: str = "", multiple: bool = False
) -> Callable[[Command], Command]:
    """The option of a setting that has one of its own, typed by what the setting takes."""
    own = OWN[name]
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=_type(own.setting),
        multiple=multiple,
        metavar=own.metavar,
        help=f"{own.words}{'; repeat for several' if multiple else ''}.{hint and f'  {hint}'}",
    )


def _type(name: str) -> "click.ParamType[Any]":
    if name == "data.name":
        return click.Choice(tuple(DATASETS))
    choices = setting(name).values
    return click.Choice(tuple(choices)) if choices else click.IntRange(min=int(name != "seed"))


NARROWING: tuple[Callable[[Command], Command], ...] = (
    click.argument("study", metavar="STUDY|FILE.toml"),
    *(setting_option(name, STUDYS, multiple=True) for name in AXES),
    click.option(
        "--seeds",
        type=COUNT,
        metavar="COUNT",
        help=f"Number of seeds, counted from 0.  {STUDYS}",
    ),
    *(setting_option(name, STUDYS) for name in SINGLE),
    click.option(
        "--variant",
        "variants",
        multiple=True,
        metavar="NAME",
        help="Variant of the study; repeat for several.  [default: all]",
    ),
    click.option(
        "--vary",
        "sweeps",
        multiple=True,
        metavar="FIELD=V,V…",
        help="Sweep any setting, as train.learning_rate=1e-3,3e-3; repeat for several.",
    ),
    SET,
    results_option("Folder of the records, one folder per study in it."),
    debug_option,
)


def takes_study(command: Command) -> Command:
    """Add STUDY, the options that narrow and widen it, and --results.

    The command receives them as one `Study` and a folder, then its own options.
    """

    @functools.wraps(command)
    def narrowed(
        study: str,
        results: Path,
        seeds: int | None,
        variants: tuple[str, ...],
        sweeps: tuple[str, ...],
        assignments: tuple[str, ...],
        **options: Any,
    ) -> Any:
        given = {name: options.pop(name) for name in (*AXES, *SINGLE)}
        whole = load(study, results)
        fixed = _given(given, SINGLE)  # on an axis of the study: its one value
        swept = [(name, (single,)) for name, single in fixed if name in dict(whole.axes)]
        common = [pair for pair in fixed if pair[0] not in dict(whole.axes)]
        chosen = narrow(
            whole,
            by_name([*_given(given, AXES), *swept, *_assigned(sweeps, "--vary", _values)]),
            by_name([*common, *assigned(assignments)]),
            seeds,
            variants,
        )
        return command(chosen, results / chosen.name, **options)

    decorated: Command = narrowed
    for option in reversed(NARROWING):
        decorated = option(decorated)
    return decorated


def assigned(assignments: Iterable[str]) -> list[tuple[str, Any]]:
    """What `--set FIELD=VALUE` gives which setting. Raises `ValueError` on any other text."""
    return _assigned(assignments, "--set", parse)


def parse(name: str, text: str) -> int | float | str:
    """A value of a setting as written on the command line, by the type of its default.

    Raises `ValueError` naming the setting, the text and the kind of number it should be.
    """
    kind = type(value(RunConfig(), name))
    try:
        parsed: int | float | str = kind(text.strip())
    except ValueError as error:
        numbers = "integers" if kind is int else "numbers"
        raise ValueError(f"{name}: {text!r} is not allowed; allowed: {numbers}") from error
    return parsed


def _values(name: str, text: str) -> tuple[int | float | str, ...]:
    return tuple(parse(name, part) for part in text.split(","))


def _assigned(
    texts: Iterable[str], option: str, parsed: Callable[[str, str], Any]
) -> list[tuple[str, Any]]:
    pairs = []
    for text in texts:
        name, is_assigned, given = text.partition("=")
        if not is_assigned:
            raise ValueError(f"{option}: {text!r} is not allowed; allowed: FIELD=VALUE")
        known = setting(name.strip()).name
        pairs.append((known, parsed(known, given)))
    return pairs


def _given(options: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, Any]]:
    """The settings whose own options were used."""
    return [(OWN[name].setting, options[name]) for name in names if options[name] not in (None, ())]
