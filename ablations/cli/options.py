"""What the commands share: errors in one line, and the options that name and narrow a study."""

import functools
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ablations.studies import load, narrow
from hvae.config import DATASETS, LOSSES

Command = Callable[..., Any]
COUNT = click.IntRange(min=1)
DEBUG = "hvae.debug"  # in the context's `meta`, which all commands of one call share


class InputError(click.ClickException):
    """What the user gave is wrong: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"hvae: error: {' '.join(self.message.split())}", err=True)


class OneLineErrors(click.Group):
    """A group whose commands end in one line, not in a traceback, where the input was wrong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:  # the help, by raising it as an error
            return super().parse_args(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise InputError(error.format_message()) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise InputError(error.format_message()) from error
        except ValueError as error:
            if ctx.meta.get(DEBUG):
                click.echo(traceback.format_exc(), err=True)
            raise InputError(str(error)) from error
        except KeyboardInterrupt:
            click.echo("hvae: interrupted", err=True)
            sys.exit(130)


def debug_option(command: Command) -> Command:
    """`--debug`, before or after the command's name."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[DEBUG] = True

    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error.",
    )(command)


def device_option(purpose: str) -> Callable[[Command], Command]:
    """--device auto|cpu|cuda, `purpose` saying what for."""
    return click.option(
        "--device",
        type=click.Choice(("auto", "cpu", "cuda")),
        default="auto",
        show_default=True,
        help=f"{purpose}; auto is cuda where there is one.",
    )


def results_option(purpose: str) -> Callable[[Command], Command]:
    """--results DIR, `purpose` saying what lies there."""
    return click.option(
        "--results",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        show_default=True,
        metavar="DIR",
        help=purpose,
    )


NARROWING = (
    click.argument("study", metavar="STUDY|FILE.toml"),
    click.option(
        "--depth",
        "depths",
        type=COUNT,
        multiple=True,
        metavar="LEVELS",
        help="Number of levels; repeat for several.  [default: the study's]",
    ),
    click.option(
        "--loss",
        "losses",
        type=click.Choice(LOSSES),
        multiple=True,
        help="Reconstruction loss; repeat for several.  [default: the study's]",
    ),
    click.option(
        "--latent",
        "latents",
        type=COUNT,
        multiple=True,
        metavar="DIMENSIONS",
        help="Latent dimensions of a level; repeat for several.  [default: the study's]",
    ),
    click.option(
        "--seeds",
        type=COUNT,
        metavar="COUNT",
        help="Number of seeds, counted from 0.  [default: the study's]",
    ),
    click.option(
        "--epochs",
        type=COUNT,
        metavar="EPOCHS",
        help="Passes over the training images.  [default: the study's]",
    ),
    click.option(
        "--data", type=click.Choice(tuple(DATASETS)), help="Dataset.  [default: the study's]"
    ),
    click.option(
        "--importance-samples",
        type=COUNT,
        metavar="SAMPLES",
        help="Samples per test image for the evaluation's NLL.  [default: the study's]",
    ),
    results_option("Folder of the records, one folder per study in it."),
    debug_option,
)


def takes_study(command: Command) -> Command:
    """Add STUDY, the options that narrow it, and --results.

    The command receives them as one `Study` and a folder, then its own options.
    """

    @functools.wraps(command)
    def narrowed(
        study: str,
        depths: tuple[int, ...],
        losses: tuple[str, ...],
        latents: tuple[int, ...],
        seeds: int | None,
        epochs: int | None,
        data: str | None,
        importance_samples: int | None,
        results: Path,
        **own: Any,
    ) -> Any:
        chosen = narrow(
            load(study),
            depths=depths,
            losses=losses,
            latents=latents,
            seeds=seeds,
            epochs=epochs,
            data=data,
            importance_samples=importance_samples,
        )
        return command(chosen, results / chosen.name, **own)

    decorated: Command = narrowed
    for option in reversed(NARROWING):
        decorated = option(decorated)
    return decorated


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the datasets.  [default: $HVAE_DATA, else the user's cache folder]",
)
workers_option = click.option(
    "--workers",
    type=COUNT,
    metavar="PROCESSES",
    help="Worker processes of one thread each.  [default: CPU cores; 1 on cuda]",
)
redo_stale_option = click.option(
    "--redo-stale", is_flag=True, help="Redo records made by other sources of hvae."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def print_json(document: dict[str, Any]) -> None:
    """What `--json` prints."""
    click.echo(json.dumps(document, indent=1))
