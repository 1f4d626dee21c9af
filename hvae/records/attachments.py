"""What lies beside a record: arrays of every run, and its weights where they are kept.

`DIGEST.npz` holds pictures (uint8, 0–255) and by test image what the mean and the test-set error
of the NLL are of (float32, nats),
`DIGEST.safetensors` the float32 state_dict under its documented names: the format users expect,
which unlike a pickle cannot run code when it is read.
Neither is needed to read the record. This module imports no torch.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hvae.config import RunConfig, as_dict
from hvae.records.files import read_whole

Arrays = dict[str, npt.NDArray[Any]]


class AttachmentError(ValueError):
    """A file beside a record that cannot be read: the message names it and what is wrong."""


def arrays_file(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named arrays as an `.npz`; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # no array is allow_pickle
    return buffer.getvalue()


def weights_file(state: Mapping[str, npt.NDArray[np.float32]], run: RunConfig) -> bytes:
    """A state_dict as a `.safetensors` that says in its metadata which settings it belongs to."""
    # One key only: safetensors writes several in an order that differs between processes.
    return save(dict(state), {"run_config": json.dumps(as_dict(run), sort_keys=True)})


def read_arrays(path: Path, names: Container[str] | None = None) -> Arrays:
    """The arrays of an `.npz`, or those of the names that it has. Raises `AttachmentError` where it
    is missing or damaged."""
    try:
        with np.load(io.BytesIO(read_whole(path)), allow_pickle=False) as archive:
            return {n: archive[n] for n in archive.files if names is None or n in names}
    except (
        *(OSError, ValueError, EOFError, RuntimeError, MemoryError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        # RuntimeError: zipfile's, where a flipped bit names another compression or a password.
        raise AttachmentError(f"{path}: no whole archive of arrays ({error})") from error


def read_weights(path: Path, content: bytes | None = None) -> Arrays:
    """The state_dict of a `.safetensors`, of its `content` where that was read already. Raises
    `AttachmentError` where it is missing or damaged."""
    try:
        return load(read_whole(path) if content is None else content)
    except (OSError, SafetensorError, KeyError) as error:  # KeyError: a type that numpy lacks
        raise AttachmentError(
            f"{path}: no whole file of weights ({error}); without it --keep-weights trains again"
        ) from error
