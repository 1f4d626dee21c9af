"""Images of one's own as a study names them: what lies at their path, or lay there."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hvae.records.store import RecordError, Store


def recorded(path: str, folder: Path | None) -> Mapping[str, Any]:
    """The settings of what lay at a path when the records of a folder were made; none where
    something lies there now, or where it was not always the same."""
    where = Path(os.path.expanduser(path)).absolute()
    if folder is None or os.path.exists(where):
        return {}
    store, found = Store(folder), set()
    for name in store.finished():
        with suppress(RecordError):  # whoever asks for it hears of it
            data = store.read(name).run.data
            if data.path in (path, str(where)):
                found.add((data.name, data.sha256, data.sizes))
    keys = ("data.name", "data.sha256", "data.sizes")
    return dict(zip(keys, *found, strict=True)) if len(found) == 1 else {}


def described(path: Any) -> Mapping[str, Any]:
    """The settings of what lies at a path. Raises `ValueError` naming it and what is wrong."""
    from hvae.data import own  # needs numpy

    return own.described({"data.path": path})
