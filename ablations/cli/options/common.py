"""What the commands share: errors in one line, and the options of several of them."""

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ablations.run.executors import DEVICES, EXECUTORS
from ablations.terminal import prepare_streams, printable
from hvae.processes import WorkerFailed
from hvae.records.files import FULL, DiskFull
from hvae.records.sources import SourcesChanged
from hvae.text import visible

Command = Callable[..., Any]
COUNT = click.IntRange(min=1)
FAILURES = (SourcesChanged, WorkerFailed)
DEBUG = "hvae.debug"  # in the context's `meta`, which all commands of one call share


class FilePath(click.Path):
    """A path in which `~` is the user's home, also behind a `=`, where no shell expands it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = os.path.expanduser(value)
        if path.startswith("~"):
            self.fail(f"{value!r}: nobody has that name; allowed: a path", param, ctx)
        return super().convert(path, param, ctx)


class InputError(click.ClickException):
    """What the user gave is wrong: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"hvae: error: {printable(self.message)}", err=True)


class WorkFailedError(InputError):
    """The work found a failure: one line on stderr, exit code 1."""

    exit_code = 1


class OneLineErrors(click.Group):
    """A group whose commands end in one line, not in a traceback, where the input was wrong."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        prepare_streams()
        return super().main(*arguments, **options)

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
        except (ValueError, OSError, *FAILURES) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # nobody reads the answer any more: click ends without a word
            if ctx.meta.get(DEBUG):
                click.echo(visible(traceback.format_exc()), err=True)
            words = _words(error) if isinstance(error, OSError) else str(error)
            raise (WorkFailedError if _is_failure(error, ctx) else InputError)(words) from error
        except KeyboardInterrupt:
            click.echo("hvae: interrupted", err=True)
            sys.exit(130)


def _words(error: OSError) -> str:
    """The file and what the system says of it."""
    file = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{file}{error.strerror or error}"


def _is_failure(error: Exception, ctx: click.Context) -> bool:
    """Whether it is nobody's mistake, as a full disk; but exit code 1 of the gate is a
    regression."""
    is_full = isinstance(error, DiskFull) or getattr(error, "errno", None) in FULL
    return (is_full or isinstance(error, FAILURES)) and ctx.invoked_subcommand != "gate"


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
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help=f"{purpose}; auto is cuda where there is one.",
    )


def results_option(purpose: str) -> Callable[[Command], Command]:
    """--results DIR, `purpose` saying what lies there."""
    return click.option(
        "--results",
        type=FilePath(file_okay=False),
        default=Path("results"),
        show_default=True,
        metavar="DIR",
        help=purpose,
    )


data_dir_option = click.option(
    "--data-dir",
    envvar="HVAE_DATA",
    type=FilePath(file_okay=False),
    metavar="DIR",
    help="Folder of the datasets.  [default: $HVAE_DATA, else the user's cache folder]",
)
workers_option = click.option(
    "--workers",
    type=COUNT,
    metavar="PROCESSES",
    help="Worker processes of one thread each.  [default: CPU cores; 1 on cuda]",
)
executor_option = click.option(
    "--executor",
    type=click.Choice(EXECUTORS),
    default="local",
    show_default=True,
    help="Worker processes on this machine, this process alone, or nodes of a Ray cluster.",
)
redo_stale_option = click.option(
    "--redo-stale", is_flag=True, help="Redo records made by other sources of hvae."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def is_given(name: str) -> bool:
    """Whether the option of that parameter was written on the command line."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def refuse_unused(given: Mapping[str, Any], beside: str) -> None:
    """Raise `ValueError` where one of the options was given, which another passes over."""
    for option in filter(given.get, given):
        raise ValueError(f"{option}: has no meaning with {beside}; allowed: one of the two")


def print_json(document: dict[str, Any]) -> None:
    """What `--json` prints."""
    click.echo(json.dumps(document, indent=1))


@contextmanager
def progress_line(name: str) -> Iterator[Callable[[str], None]]:
    """What a command does now and since when, on stderr, if somebody watches."""
    from tqdm import tqdm

    form = f"{name}: {{desc}} {{elapsed}}"
    with tqdm(file=sys.stderr, bar_format=form, leave=False, disable=None) as bar:
        yield bar.set_description_str
