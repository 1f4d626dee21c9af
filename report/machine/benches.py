"""What `hvae bench` and the gate's trials left beside the studies: JSON files in, drawings and a
table out."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from report.machine.gate_trials import gate_table, is_trial, read_trials
from report.machine.ladder import caption, ladder
from report.render.drawing import Drawing
from report.render.tables import Table

Found = TypeVar("Found")


@dataclass(frozen=True)
class Benches:
    """A drawing per whole ladder and the trials of the gate, in the order of their files' names,
    and a line per damaged file."""

    drawings: tuple[Drawing, ...] = ()
    gate: Table | None = None
    notices: tuple[str, ...] = ()


def read_benches(folder: Path) -> Benches:
    """The ladders in `folder`, the trials in its folder `gate`; none where there is no folder."""
    ladders, notices = _read(sorted(folder.glob("*.json")), _drawing, "ladder")
    files = sorted(path for path in (folder / "gate").glob("*.json") if is_trial(path))
    trials, damaged = _read(files, read_trials, "record of trials")
    table = gate_table(trials) if trials else None
    return Benches(tuple(ladders), table, (*notices, *damaged))


def _read(
    files: Sequence[Path], read: Callable[[Path], Found], what: str
) -> tuple[list[Found], list[str]]:
    """What each whole file holds, and a line per damaged one."""
    found, notices = [], []
    for path in files:
        try:
            found.append(read(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            place = f"{path.parent.name}/{path.name}"
            notices.append(f"{place} is no whole {what}: {_reason(error)}.")
    return found, notices


def _drawing(path: Path) -> Drawing:
    document = json.loads(path.read_text(encoding="utf-8"))
    _require_rates(document)
    title = str(document["machine"]["device_name"])
    name = "bench-" + re.sub(r"[^A-Za-z0-9-]+", "-", path.stem)
    drawing = Drawing(name, title, caption(document), ladder(document))
    drawing.figure.draw_without_rendering()  # what cannot be drawn shows here, not in the page
    return drawing


def _require_rates(document: dict[str, Any]) -> None:
    """Raise `ValueError` unless there is a rung and every rate may stand on a logarithmic axis."""
    rates = [rate for rung in document["rungs"] for rate in rung["model_steps_per_second"].values()]
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError("its rates are not all positive numbers")


def _reason(error: Exception) -> str:
    """One line, without the folder: the page is the same wherever it lies."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
