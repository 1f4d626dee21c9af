"""What the commands do, as functions: a study is run, a trained model is found among its records.

Where this runs, nothing is printed but progress, on stderr; workers are processes of their own, so
it does in a notebook, too.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import compress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.grid import design
from ablations.run.launch import Launch, say_what_is_lost, train_missing
from ablations.run.progress import say
from ablations.studies import Study, frozen, narrow
from ablations.study_files import as_file, load_study
from hvae.records.sources import sources_sha256
from hvae.records.standings import staleness
from hvae.records.store import Record, Store
from hvae.settings import axis_names, setting, value

if TYPE_CHECKING:
    import pandas as pd

    from hvae.model.hierarchy import HierarchicalVAE


def run(
    study: str | PathLike[str] | Study,
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    variants: Sequence[str] = (),
    results: str | PathLike[str] = "results",
    data_dir: str | PathLike[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    throughput: bool = True,
    keep_weights: bool = False,
    redo_stale: bool = False,
) -> "pd.DataFrame":
    """Train what is missing of a study, as `hvae run` does: its recorded runs, a row each, as
    `hvae.load_records` lays them out, and of a study with variants the column `variant`.

    `study` is the name of a preset, a *.toml file, or an `ablations.studies.Study`, which is then
    known to the commands by its name, unless that is a preset's; `axes` and `settings` are by the
    names of `hvae.settings.SETTINGS` and take the place of its own. What failed or diverged is said
    on stderr. Raises `ValueError` naming what is wrong and what is allowed, or why no run is
    recorded; `hvae.records.sources.SourcesChanged` where hvae was edited meanwhile.
    """
    from report.data.records import frame_of

    folder = Path(results).expanduser()
    whole = as_file(study) if isinstance(study, Study) else load_study(os.fspath(study), folder)
    asked = narrow(whole, axes, settings, seeds, variants)
    data = Path(data_dir).expanduser() if data_dir else None
    launch = Launch(
        data,
        device,
        workers,
        redo_stale=redo_stale,
        keeps_weights=keep_weights,
        is_timed=throughput,
    )
    standings = train_missing(asked, Store(folder / asked.name), launch)
    say_what_is_lost(asked, standings, launch)
    is_recorded = [standing.record is not None for standing in standings]
    if not any(is_recorded):
        reason = next((s.reason for s in standings if s.reason), "nothing was trained")
        raise ValueError(f"study: no run of {asked.name!r} is recorded: {reason}")
    frame = frame_of(s.record for s in standings if s.record is not None)
    if asked.variants:  # as the standings, in the order of the runs
        frame.insert(1, "variant", [*compress(design(asked).variant_of, is_recorded)])
    return frame


def load_model(
    path: str | PathLike[str], *, key: str = "", settings: Mapping[str, Any] | None = None
) -> "HierarchicalVAE":
    """The one trained model in a study's folder of that digest, or its beginning, and those
    settings, by their names. Its weights must have been kept.

    Raises `ValueError` where there is none, or several: then it says in which settings they differ.
    """
    from hvae.model.hierarchy import with_weights
    from hvae.records.attachments import read_weights

    store = Store(Path(path).expanduser())
    named = [(setting(name).name, given) for name, given in (settings or {}).items()]
    wanted = {name: frozen(name, given) for name, given in named}
    record = run_with_weights(store, key, wanted)
    return with_weights(record.run, read_weights(store.weights_path(record.digest)))


def run_with_weights(store: Store, key: str, wanted: Mapping[str, Any]) -> Record:
    """The one run of that key and those settings whose weights were kept.

    Raises `ValueError` where there is none, or several: then it says in which settings they differ.
    """
    fitting = [
        record
        for record in store
        if record.digest.startswith(key)
        and all(value(record.run, name) == given for name, given in wanted.items())
        and store.weights_path(record.digest).exists()
    ]
    if len(fitting) == 1:
        (record,) = fitting
        _require_finished(record)
        if reason := staleness(record, sources_sha256()):
            say(f"{record.digest}: {reason}")
        return record
    asked = [f", {name} {given}" for name, given in {"key": key, **wanted}.items() if given != ""]
    found = f"study: {len(fitting)} runs under {store.folder} have weights{''.join(asked)}"
    if not fitting:
        kept = "`hvae run STUDY --keep-weights` and `hvae reproduce` keep them"
        raise ValueError(f"{found}; allowed: one; {kept}")
    values = {n: {value(r.run, n) for r in fitting} for n in (*axis_names(), "seed")}
    differing = [f"{n} {', '.join(map(str, sorted(v)))}" for n, v in values.items() if len(v) > 1]
    differing = differing or [f"their images; keys {', '.join(r.digest for r in fitting)}"]
    raise ValueError(f"{found}; allowed: one; they differ in {'; '.join(differing)}")


def _require_finished(record: Record) -> None:
    if record.status != "finished":
        raise ValueError(
            f"key: {record.digest!r} {record.status}: it draws nothing; allowed: others"
        )
