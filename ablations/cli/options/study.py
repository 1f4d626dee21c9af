"""The options that choose among runs by their settings, and those that narrow or widen a study."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ablations.cli.options.common import COUNT, Command, debug_option, results_option
from ablations.run.progress import say
from ablations.studies import Study, by_name, narrow
from ablations.study_files import load_study
from hvae.config import RunConfig
from hvae.datasets import DATASETS
from hvae.records.store import Store
from hvae.settings import setting, value

STUDYS = "[default: the study's]"
AXES = ("depth", "loss", "latent", "objective")  # whose options are repeated, each value swept
# Of one value; the others, of which one is the seed of a run, are named like their settings.
SINGLE = {"epochs": "train.epochs", "importance_samples": "evaluation.importance_samples"}
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
    """The option of a setting that has one of its own: type and help are what is known of it."""
    known = setting(SINGLE.get(name, name))
    choices = tuple(known.values)
    words = known.label[0].upper() + known.label[1:]
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=click.Choice(choices) if choices else click.IntRange(min=int(name != "seed")),
        multiple=multiple,
        metavar=None if choices else (known.unit or known.key.split("_")[-1]).upper(),
        help=f"{words}{'; repeat for several' if multiple else ''}.{hint and f'  {hint}'}",
    )


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
        "--data",
        metavar="NAME|FILE.npz|FOLDER",
        help=f"{', '.join(DATASETS)}, or your own: a file, or a folder of IDX files.  {STUDYS}",
    ),
    click.option(
        "--variant",
        "variants",
        multiple=True,
        metavar="NAME",
        help="Variant of the study; repeat for several, the study's first of which is the "
        "reference.  [default: all]",
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

    The command receives them as one `Study` and its `Store`, then its own options.
    """

    @functools.wraps(command)
    def narrowed(
        study: str,
        results: Path,
        seeds: int | None,
        data: str | None,
        variants: tuple[str, ...],
        sweeps: tuple[str, ...],
        assignments: tuple[str, ...],
        **options: Any,
    ) -> Any:
        used = {name: options.pop(name) for name in (*AXES, *SINGLE)}
        whole = load_study(study, results)
        if study == whole.name and _is_edited(whole, results):
            say(f"{study}: {study}.toml differs from what is asked, the copy in {results / study}")
        single = given(used, SINGLE)  # on an axis of the study: its one value
        single += data_settings(data)
        fixed = [pair for pair in single if pair[0] not in whole.axes]
        swept = [(name, [value]) for name, value in single if name in whole.axes]
        for name, text in assigned("--vary", sweeps):
            swept.append((name, [parse(name, part) for part in text.split(",")]))
        fixed += [(name, parse(name, text)) for name, text in assigned("--set", assignments)]
        axes, settings = by_name([*given(used, AXES), *swept]), by_name(fixed)
        chosen = narrow(whole, axes, settings, seeds, variants)
        return command(chosen, Store(results / chosen.name), **options)

    decorated: Command = narrowed
    for option in reversed(NARROWING):
        decorated = option(decorated)
    return decorated


def _is_edited(study: Study, results: Path) -> bool:
    """Whether a file here asks something else than the copy that was read beside the records."""
    here = f"{study.name}.toml"
    with suppress(ValueError):  # nobody asked for that file
        if study.toml and os.path.isfile(here):
            other = load_study(here, results)
            return other.name == study.name and other != study
    return False


def data_settings(data: str | None) -> list[tuple[str, Any]]:
    """The settings that `--data` stands for: a dataset's name, or else the path of one's own.

    Raises `ValueError` where it is neither.
    """
    if data is None:
        return []
    if data in DATASETS:
        return [("data.name", data)]
    if not os.path.exists(os.path.expanduser(data)):
        names = ", ".join(DATASETS)
        raise ValueError(
            f"data: {data!r} is not allowed; allowed: {names}, or a file *.npz or a folder of IDX "
            "files that is there"
        )
    return [("data.path", data)]


def given(options: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, Any]]:
    """The settings whose own options were used, and what they were given."""
    used = (name for name in names if options[name] not in (None, ()))
    return [(SINGLE.get(name, name), options[name]) for name in used]


def assigned(option: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Setting and text of each `FIELD=VALUE` of an option. Raises `ValueError` on another text."""
    pairs = []
    for text in texts:
        name, is_assigned, words = text.partition("=")
        if not is_assigned:
            raise ValueError(f"{option}: {text!r} is not allowed; allowed: FIELD=VALUE")
        pairs.append((setting(name.strip()).name, words))
    return pairs


def parse(name: str, text: str) -> int | float | str | tuple[int, ...]:
    """A value of a setting as written on the command line, by the type of its default: sizes by
    level as 100-50.

    Raises `ValueError` naming the setting, the text and the kind of number it should be.
    """
    kind = type(value(RunConfig(), name))
    try:
        if kind is tuple:
            return tuple(int(part) for part in text.split("-"))
        parsed: int | float | str = kind(text.strip())
    except ValueError as error:
        numbers = {int: "integers", tuple: "integers joined by '-'"}.get(kind, "numbers")
        raise ValueError(f"{name}: {text!r} is not allowed; allowed: {numbers}") from error
    return parsed
