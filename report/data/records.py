"""Records as one frame, whatever study they are of."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from hvae.records.sources import sources_sha256
from hvae.records.standings import staleness
from hvae.records.store import Record, Store
from hvae.settings import SETTINGS, value
from report.data.rows import run_row


def load_records(path: str | PathLike[str]) -> pd.DataFrame:
    """The records of a study's folder, or of all studies in a folder of results: a row per run.

    Columns: `study`, `digest`, `status` (of a recorded run: "finished" or "diverged"), every
    setting by its name (`depth`, `train.epochs`), `parameters`, `flops_per_image`,
    `trained_images`, `train_seconds` and `evaluate_seconds` (of the run alone), each metric of the
    test set, its unit in its name (`nll_nats`; NaN where a run has none, those by level or unit
    lists, `None` in them what is no number), and images per second by task, device and machine
    (`train_step_images_per_second@cpu, …`). `is_stale`: made by other sources of hvae than these,
    or of an older schema. A record does not know its study's variants: their settings tell them
    apart. What else it holds, such as the history by epoch, `hvae.records.store.Store(folder)`
    iterates over.

    Raises `ValueError` where there is no record, or a damaged one.
    """
    folder = Path(path).expanduser()
    frame = frame_of(record for store in stores(folder).values() for record in store)
    if frame.empty:
        raise ValueError(f"path: no record under {str(folder)!r}; allowed: a folder with some")
    return frame


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """A row per record, in their order."""
    sources = sources_sha256()
    return pd.DataFrame(_row(record, sources) for record in records)


def _row(record: Record, sources: str) -> dict[str, Any]:
    """A run's settings and what was measured of it."""
    run = record.run
    by_level = {name: held for name, held in record.metrics.items() if isinstance(held, list)}
    return {
        "study": record.study,
        "digest": record.digest,
        "status": record.status,
        "is_stale": bool(staleness(record, sources)),
        **{name: value(run, name) for name in SETTINGS},
        "parameters": record.parameters,
        **run_row(record),
        **by_level,
    }


def stores(folder: Path) -> dict[str, Store]:
    """The study at a folder, without a name, or else those in it by the names of their folders."""
    if (folder / "runs").is_dir():
        return {"": Store(folder)}
    return {runs.parent.name: Store(runs.parent) for runs in sorted(folder.glob("*/runs"))}
