"""Templates in, files out: what both pages, of a study and of the reproduction, have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from hvae.records.files import overwrite, writing_under
from hvae.text import visible

FOLDER = Path(__file__).parents[1] / "templates"


def templates() -> Environment:
    """The templates; a name that is not given to one is an error."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(("html.j2",), default=False),  # LaTeX, Markdown: own filters
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


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
