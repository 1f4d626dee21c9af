"""Records: one immutable JSON file per finished run, and the folder that holds them.

A record exists if and only if its run finished. Several processes may write at once: the first
wins, a kill at any moment leaves whole records or none. The store is the only state there is.
"""

import dataclasses
import hashlib
import json
import math
import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvae.config import RunConfig, as_dict, from_dict
from hvae.records.files import (
    fsync_folder,
    overwrite,
    probe,
    publish,
    read_whole,
    require_room,
    sweep,
    writing_under,
)
from hvae.records.form import require_form, require_numbers, require_plain
from hvae.settings import digest
from hvae.validation import require_known

SCHEMA = 1
STATUSES = ("finished", "diverged")
FAILED = ".failed.json"
RECORD = re.compile(r"[0-9a-f]{16}")  # its file's name; anything else is none
ARRAYS, WEIGHTS = ".npz", ".safetensors"  # beside a record; attachments.py reads them
Files = Mapping[str, bytes]  # suffix -> content


@dataclass(frozen=True)
class Record:
    """What one finished run left behind. Units are in the names; `None` stands for non-finite."""

    study: str
    digest: str
    config: dict[str, Any]
    status: str
    data_sha256: str
    code: dict[str, Any]
    environment: dict[str, Any]
    parameters: int
    flops_per_image: int
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    throughput: dict[str, Any]
    seconds: dict[str, float]
    schema: int = SCHEMA

    @property
    def run(self) -> RunConfig:
        """The settings that made this record."""
        return from_dict(self.config)


@dataclass(frozen=True)
class Failure:
    """Why a run has no record: the exception and its traceback. Retried by the next `hvae run`."""

    digest: str
    config: dict[str, Any]
    exception: str
    traceback: str


class RecordError(ValueError):
    """A record on disk that cannot be trusted: the message names the file and what is wrong."""


class UnreadableError(RecordError):
    """A record that the system does not let us read. It may be whole, so nobody is told to delete
    it."""


class Store:
    """The records of one study, under `folder/runs`, which need not be there to be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"

    def open_for_writing(self) -> None:
        """Make the folder and prove it writable; sweep what killed writers left behind. Raises
        `ValueError` naming the folder where that cannot be."""
        with writing_under(self.folder):
            self.runs.mkdir(parents=True, exist_ok=True)
            sweep(self.runs)
            probe(self.runs)

    def path(self, name: str) -> Path:
        return self.runs / f"{name}.json"

    def failure_path(self, name: str) -> Path:
        return self.runs / f"{name}{FAILED}"

    def arrays_path(self, name: str) -> Path:
        return self.runs / f"{name}{ARRAYS}"

    def weights_path(self, name: str) -> Path:
        return self.runs / f"{name}{WEIGHTS}"

    def finished(self) -> set[str]:
        """Digests that hold a record."""
        return {path.stem for path in self.runs.glob("*.json") if RECORD.fullmatch(path.stem)}

    def failed(self) -> set[str]:
        """Digests whose last try failed and that hold no record."""
        names = {path.name.removesuffix(FAILED) for path in self.runs.glob(f"*{FAILED}")}
        return set(filter(RECORD.fullmatch, names)) - self.finished()

    def write(self, record: Record, files: Files | None = None) -> bool:
        """Publish a record over one of other sources, while one of the same sources stays, as the
        first to be written wins: then False. Its files come to lie beside it before, and one of
        other sources is gone by then: no record ever lacks its own, or has another's."""
        path, content = self.path(record.digest), _dump(_body(record))
        was_there = path.exists()
        is_recorded = was_there and _is_current(path, record.code)
        if was_there and not is_recorded:  # it stays where its successor would not fit
            require_room(self.runs, b"".join([content, *(files or {}).values()]))
            path.unlink(missing_ok=True)
        self._attach(record.digest, files or {}, is_recorded)
        is_published = not is_recorded and publish(path, content)
        if not is_published and not _is_current(path, record.code):
            overwrite(path, content)
            is_published = True
        self.failure_path(record.digest).unlink(missing_ok=True)
        return is_published

    def _attach(self, name: str, files: Files, is_recorded: bool) -> None:
        """Put files beside a record that is about to be published.

        Where that record is there and stays, so do its files, and only what it lacks is added.
        Else they take the place of what is there: the files of other sources, or of a run that was
        killed before its record was published.
        """
        for path in (self.arrays_path(name), self.weights_path(name)):
            content = files.get(path.suffix)
            if content is not None:
                (publish if is_recorded else overwrite)(path, content)
            elif not is_recorded:
                path.unlink(missing_ok=True)
        if files:
            fsync_folder(self.runs)

    def write_failure(self, config: RunConfig, error: BaseException) -> None:
        """Leave word of a failed run; a later failure of the same run replaces it."""
        failure = Failure(
            digest=digest(config),
            config=as_dict(config),
            exception=f"{type(error).__name__}: {error}",
            traceback="".join(traceback.format_exception(error)),
        )
        path = self.failure_path(failure.digest)
        path.unlink(missing_ok=True)
        publish(path, _dump(dataclasses.asdict(failure)))

    def read(self, name: str) -> Record:
        """The record of a digest. Raises `RecordError` on a damaged file or a newer schema, and
        `UnreadableError`, which is one, where the system does not let it be read."""
        return read(self.path(name))

    def read_failure(self, name: str) -> Failure:
        """Why a digest failed. Raises `RecordError` on a damaged file."""
        path = self.failure_path(name)
        body = _load(path)
        try:
            require_form(Failure, body)
            return Failure(**body)
        except (TypeError, ValueError) as error:
            raise RecordError(f"{path}: not a whole failure ({error})") from error

    def __iter__(self) -> Iterator[Record]:
        """All records, in the order of their digests."""
        return (self.read(name) for name in sorted(self.finished()))


def read(path: Path) -> Record:
    """One record from its file. Raises `RecordError` naming the file and what is wrong with it."""
    body = _load(path)
    schema = body.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema > SCHEMA:
        raise RecordError(
            f"{path}: schema {schema!r} was written by a newer hvae; this one reads up to {SCHEMA}"
        )
    try:
        is_whole = body.pop("checksum", None) == _checksum(body)
    except ValueError:  # infinite numbers, which none of ours has
        is_whole = False
    if not is_whole:
        raise RecordError(f"{path}: the checksum does not fit the content; delete the file to redo")
    try:
        _require_record(body)
        require_known("key of a record", body, {f.name for f in dataclasses.fields(Record)})
        record = Record(**body)
        named = digest(record.run)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not record.digest == named == path.stem:
        raise RecordError(f"{path}: holds the record of {named}; allowed: its own digest only")
    return record


def _require_record(body: dict[str, Any]) -> None:
    """Raise `ValueError` where a part has another form than those who read records expect."""
    require_form(Record, body)
    require_numbers("seconds", body.get("seconds"))
    require_plain("code", body.get("code", {}))
    environment = dict(body.get("environment", {}))
    require_plain("flags", environment.pop("flags", None) or {})
    require_plain("environment", environment)


def _load(path: Path) -> dict[str, Any]:
    try:
        numbers: Any = {"parse_float": _finite_float, "parse_constant": _finite_float}
        body = json.loads(read_whole(path), parse_int=_finite_int, **numbers)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a whole record ({error}); delete it to redo") from error
    if not isinstance(body, dict):
        raise RecordError(f"{path}: not a record; delete it to redo")
    return body


def _finite_float(text: str) -> float:
    """A number of a record, which knows neither NaN nor Infinity. Raises `ValueError`."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of a record")
    return number


def _finite_int(text: str) -> int:
    """An integer of a record, which has none beyond floats. Raises `ValueError`."""
    _finite_float(text)
    return int(text)


def _is_current(path: Path, code: dict[str, Any]) -> bool:
    """Whether the record at `path` is there and was made by the same sources as this code."""
    return path.exists() and read(path).code.get("sources_sha256") == code.get("sources_sha256")


def _body(record: Record) -> dict[str, Any]:
    body: dict[str, Any] = _finite(dataclasses.asdict(record))
    return body | {"checksum": _checksum(body)}


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def _checksum(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _finite(value: Any) -> Any:
    """JSON has no NaN: non-finite numbers become null, tuples lists."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
