"""The ladders that `hvae bench` left beside the studies: JSON files in, drawings out."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report.drawing import Drawing
from report.ladder import caption, ladder


@dataclass(frozen=True)
class Benches:
    """A drawing per whole file, in the order of their names, and a line per damaged one."""

    drawings: tuple[Drawing, ...] = ()
    notices: tuple[str, ...] = ()


def read_benches(folder: Path) -> Benches:
    """The ladders in `folder`; none where there is no such folder."""
    drawings, notices = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            drawings.append(_drawing(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notices.append(f"{folder.name}/{path.name} is no whole ladder: {_reason(error)}.")
    return Benches(tuple(drawings), tuple(notices))


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
