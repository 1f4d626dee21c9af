"""Templates in, files out: what all pages have in common."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from hvae.records.files import overwrite, writing_under
from hvae.text import visible
from report.render.numbers import counted, tie

FOLDER = Path(__file__).parents[1] / "templates"


def templates(**filters: Callable[..., Any]) -> Environment:
    """The templates, which may use filters of these names; a name that is not given to one is an
    error."""
    found = _environment()
    found.filters |= filters
    return found


@cache
def _environment() -> Environment:
    """One for all, so that no template is compiled twice."""
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(("html.j2",), default=False),  # LaTeX, Markdown: own filters
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"counted": counted, "tie": tie}
    return found


def _shown(value: Any) -> Any:
    """What a template is given, as a reader sees it; markup is our own."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files by their names below a folder, each whole or not there; their paths, in order.

    Raises `ValueError` where the folder cannot be written.
    """
    paths = [folder / name for name in files]
    with writing_under(folder, "report"):
        for path, content in zip(paths, files.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            overwrite(path, content)
    return paths
