"""Records → tidy DataFrames: one row per run, and long frames per level, epoch and measurement.

Reads what is expected, key by key, so that no key counts twice and every missing one is seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hvae.closed_form import parameter_count
from hvae.config import RunConfig, as_dict, digest
from hvae.records.store import Record, RecordError, Store

STATUSES = ("finished", "diverged", "failed", "missing", "damaged")
AXES = ("depth", "loss", "latent", "objective", "data", "binarize")
NAMES = {"num_layers": "depth", "latent_dim": "latent", "name": "data"}
LEVEL_METRICS = {  # in the record -> in the frame
    "kl_per_level_nats": "kl_nats",
    "active_units_per_level": "active_units",
    "active_units_scale_free_per_level": "active_units_scale_free",
    "level_value_nats": "value_nats",
    "level_value_standard_error_nats": "value_standard_error_nats",
    "probe_accuracy_per_level": "probe_accuracy",
}
RATES = (  # of a measurement of throughput, besides where and at which batch size it was taken
    *("task", "device", "is_best_batch", "repeats"),
    *("images_per_second", "lower_quartile", "upper_quartile"),
)
PLACES = ("machine", "batch", "is_own_batch")


@dataclass(frozen=True)
class Study:
    """All the report reads. Every frame has `key`, the cell's columns and `seed`.

    status: one row per expected key, with `status`, `message`, `parameters`.
    runs: finished runs only, one row each, scalar metrics as columns (absent: NaN).
    levels, epochs, curve, throughput: long; epochs also hold the diverged runs.
    made: where each record came from. cell: the columns that tell cells apart.
    """

    status: pd.DataFrame
    runs: pd.DataFrame
    levels: pd.DataFrame
    epochs: pd.DataFrame
    curve: pd.DataFrame
    throughput: pd.DataFrame
    made: pd.DataFrame
    cell: tuple[str, ...]
    unasked: int

    def varying(self) -> tuple[str, ...]:
        """The cell's columns that take more than one value in this study."""
        return tuple(name for name in self.cell if self.status[name].nunique() > 1)


def load(store: Store, expected: Sequence[RunConfig]) -> Study:
    """The expected runs of a store; a damaged record is listed with its message, never a crash."""
    configs = {digest(config): config for config in expected}
    settings = _settings(configs)
    columns = ["key", *settings.columns.drop("key")]
    cell = tuple(name for name in columns if name not in ("key", "seed"))
    records: list[Record] = []
    status = [_state(store, key, records) for key in configs]
    finished = [record for record in records if record.status == "finished"]

    def frame(rows: Iterable[dict[str, Any]], *named: str) -> pd.DataFrame:
        return settings.merge(_frame(rows, "key", *named), on="key")

    return Study(
        status=frame(status, "status", "message").assign(
            parameters=[parameter_count(config.model) for config in configs.values()]
        ),
        runs=frame(map(_run_row, finished)),
        levels=frame((row for r in finished for row in _level_rows(r)), "level"),
        epochs=frame((row for r in records for row in _epoch_rows(r)), "epoch", "loss_nats"),
        curve=frame((row for r in finished for row in _curve_rows(r)), "samples", "nll_nats"),
        throughput=frame((row for r in records for row in _throughput_rows(r)), *RATES, *PLACES),
        made=frame(map(made_by, records)),
        cell=cell,
        unasked=len(store.finished() - set(configs)),
    )


def _state(store: Store, key: str, records: list[Record]) -> dict[str, Any]:
    """One expected key's status and message; a readable record is appended to `records`."""
    try:
        if store.path(key).exists():
            records.append(store.read(key))
            return {"key": key, "status": records[-1].status, "message": ""}
        if store.failure_path(key).exists():
            message = store.read_failure(key).exception
            return {"key": key, "status": "failed", "message": message}
    except (
        RecordError,
        TypeError,
    ) as error:  # TypeError: a failure file with foreign keys
        message = str(error).replace(f"{store.folder}/", "")  # one page, wherever the store lies
        return {"key": key, "status": "damaged", "message": message}
    return {"key": key, "status": "missing", "message": ""}


def _settings(configs: dict[str, RunConfig]) -> pd.DataFrame:
    """One row per key: the axes, the seed, and any other field that varies."""
    flat = _frame(({"key": key, **_flat(config)} for key, config in configs.items()), "key")
    flat = flat.reindex(columns=[*flat.columns.union(["key", *AXES, "seed"], sort=False)])
    given = ["key", *AXES, "seed"]
    dependent = {"input_dim"}  # fixed by the data set
    others = [c for c in flat.columns if c not in given and c not in dependent]
    return flat[[*given[:-1], *(c for c in others if flat[c].nunique() > 1), "seed"]]


def _flat(config: RunConfig) -> dict[str, Any]:
    """Field -> value over all sections, under the names of the axes."""
    flat: dict[str, Any] = {}
    for section, values in as_dict(config).items():
        for name, value in values.items():
            short = NAMES.get(name, name)
            flat[f"{section}_{short}" if short == "importance_samples" else short] = value
    return flat


def _run_row(record: Record) -> dict[str, Any]:
    scalars = {k: v for k, v in record.metrics.items() if not isinstance(v, list | dict)}
    row: dict[str, Any] = {
        "key": record.digest,
        "parameters": record.parameters,
        "flops_per_image": record.flops_per_image,
        "train_seconds": record.seconds.get("train"),
        "evaluate_seconds": record.seconds.get("evaluate"),
    }
    numbers = {k: float("nan") if v is None else v for k, v in {**row, **scalars}.items()}
    return numbers | _throughput_columns(record)


def _throughput_columns(record: Record) -> dict[str, Any]:
    """Images per second at the batch size that trains, as scalars; the name holds all that must
    not be averaged over."""
    return {
        f"{row['task']}@{row['machine']}": row["images_per_second"]
        for row in _throughput_rows(record)
        if row["is_own_batch"]
    }


def _level_rows(record: Record) -> Iterable[dict[str, Any]]:
    lists = {new: record.metrics.get(old) or [] for old, new in LEVEL_METRICS.items()}
    for level in range(max(map(len, lists.values()), default=0)):
        values = {n: v[level] for n, v in lists.items() if level < len(v)}
        yield {"key": record.digest, "level": level + 1, **values}


def _epoch_rows(record: Record) -> Iterable[dict[str, Any]]:
    for epoch in record.history:
        kl = [value for value in epoch.get("kl_per_level_nats") or [] if value is not None]
        yield {
            "key": record.digest,
            "epoch": epoch.get("epoch"),
            "loss_nats": epoch.get("loss"),
            "reconstruction_nats": epoch.get("reconstruction_nats"),
            "kl_nats": sum(kl) if kl else None,
            "seconds": epoch.get("seconds"),
        }


def _curve_rows(record: Record) -> Iterable[dict[str, Any]]:
    for samples, value in (record.metrics.get("nll_curve_nats") or {}).items():
        yield {"key": record.digest, "samples": int(samples), "nll_nats": value}


def _throughput_rows(record: Record) -> Iterable[dict[str, Any]]:
    own_batch = record.run.train.batch_size
    for measurement in record.throughput.get("measurements") or []:
        if measurement.get("images_per_second") is not None:
            batch = measurement.get("batch_size", own_batch)
            absent = {"device": "?", "task": "?", "is_best_batch": False}
            given = absent | {name: measurement[name] for name in RATES if name in measurement}
            yield {
                "key": record.digest,
                **given,
                "batch": batch,
                "is_own_batch": batch == own_batch,
                "machine": _machine(given | measurement),
            }


def _machine(measurement: dict[str, Any]) -> str:
    name = measurement.get("device_name") or measurement["device"]
    threads = measurement.get("threads", "?")
    return f"{measurement['device']}, {name}, {threads} thread{'' if threads == 1 else 's'}"


def made_by(record: Record) -> dict[str, Any]:
    """What made a record, in one row: data, code, environment, seconds."""
    flags = record.environment.get("flags") or {}
    environment = {k: v for k, v in record.environment.items() if k != "flags"}
    return {
        "key": record.digest,
        "data_sha256": record.data_sha256,
        "flags": ", ".join(f"{name} {flags[name]}" for name in sorted(flags)),
        **{f"code_{name}": value for name, value in record.code.items()},
        **environment,
        **{f"{name}_seconds": value for name, value in record.seconds.items()},
    }


def _frame(rows: Iterable[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """A frame that has `columns` even where there are no rows."""
    listed = list(rows)
    frame = pd.DataFrame(listed) if listed else pd.DataFrame(columns=list(columns))
    return frame.reindex(columns=[*frame.columns.union(list(columns), sort=False)])
