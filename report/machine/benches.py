"""What `hvae bench` and the gate's trials left beside the studies: JSON files in, drawings and a
table out."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hvae.records.files import read_whole, slug
from report.machine import ladder, scaling
from report.machine.gate_trials import NAME, gate_table, trials_row
from report.render.drawing import Drawing
from report.render.tables import Table

Shown = TypeVar("Shown")


@dataclass(frozen=True)
class Benches:
    """A drawing per whole file of `hvae bench`, the trials of the gate, in the order of the files'
    names, and a line per damaged file."""

    drawings: tuple[Drawing, ...] = ()
    gate: Table | None = None
    notices: tuple[str, ...] = ()


def read_benches(folder: Path) -> Benches:
    """What `hvae bench` left in `folder`, and the trials in its folder `gate`; nothing where there
    is no folder."""
    drawings, notices = _read(folder.glob("*.json"), _drawing, "record of a bench")
    files = (path for path in (folder / "gate").glob("*.json") if NAME.fullmatch(path.name))
    rows, damaged = _read(files, lambda _, document: trials_row(document), "record of trials")
    return Benches(tuple(drawings), gate_table(rows) if rows else None, (*notices, *damaged))


def _read(
    files: Iterable[Path], show: Callable[[Path, Any], Shown], what: str
) -> tuple[list[Shown], list[str]]:
    """What is shown of each whole file, and a line per damaged one."""
    shown, notices = [], []
    for path in sorted(files):
        try:
            shown.append(show(path, json.loads(read_whole(path))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            place = f"{path.parent.name}/{path.name}"
            notices.append(f"{place} is no whole {what}: {_reason(error)}.")
    return shown, notices


def _drawing(path: Path, document: dict[str, Any]) -> Drawing:
    if "axes" in document:
        figure, caption = scaling.scaling(document), scaling.caption(document)
        shown = "Cost of a model-step"
    else:
        figure, caption = ladder.ladder(document), ladder.caption(document)
        shown = "Throughput ladder"
    figure.draw_without_rendering()  # what cannot be drawn shows here, not in the page
    title = f"{shown}, {document['machine']['device_name']}"
    return Drawing(f"bench-{slug(path.stem)}", title, caption, figure)


def _reason(error: Exception) -> str:
    """One line, without the folder: the page is the same wherever it lies."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
