"""Datasets from the network, through torchvision, and its import beside a CPU-only torch."""

import http.client
import importlib
import re
import socket
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hvae.data.mnist import faults_of, files_of, point_elsewhere, require
from hvae.datasets import DATASETS

if TYPE_CHECKING:  # importing this module must not import torch
    from torch.library import Library

TIMEOUT_SECONDS = 60.0  # torchvision sets none: a silent network would hang for minutes
MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")
OPERATORS_AT_MOST = 16  # missing ones: 2 seen; beyond this something else is wrong


def fetch(name: str, folder: Path) -> Path:
    """Download what is missing or damaged, with progress on stderr; returns `folder`.

    Damaged files are kept under another name. Raises `ValueError` in one line where it fails.
    """
    if not any(faults_of(part) for part in files_of(name, folder)):
        return folder
    torchvision = import_torchvision()
    try:
        _download(torchvision, name, folder)
    except (RuntimeError, OSError, EOFError, http.client.HTTPException, zipfile.BadZipFile) as e:
        # torchvision lets the errors of urllib, gzip and zipfile through.
        reason = " ".join(str(e).split()) or type(e).__name__
        raise ValueError(
            f"{name}: cannot be fetched into {folder}: {reason}; "
            f"try again with a network, or {point_elsewhere(name)}"
        ) from e
    require(name, folder)
    return folder


def _download(torchvision: ModuleType, name: str, folder: Path) -> None:
    """Set damaged files aside (torchvision asks only whether a file exists), then download."""
    for path in [
        path for part in files_of(name, folder) for path in faults_of(part) if path.exists()
    ]:
        path.replace(path.with_name(f"{path.name}.damaged"))
    dataset = getattr(torchvision.datasets, DATASETS[name].folder)
    options = {"split": "digits"} if name == "emnist-digits" else {}
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        for is_train in (True, False):  # EMNIST looks for the files of one part only
            dataset(folder, train=is_train, download=True, **options)
    finally:
        socket.setdefaulttimeout(previous)


_declared: dict[str, "Library"] = {}  # a declaration lives as long as its Library


def import_torchvision() -> ModuleType:
    """torchvision, importable also where its compiled operators do not load.

    PyPI's torchvision is built for CUDA: beside a CPU-only torch its operators do not load, and
    its import stops with "operator torchvision::nms does not exist" (then qnms). Datasets use
    none of them, so to declare each by name is enough. Where the import works nothing is declared.
    """
    from torch.library import Library

    while True:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = MISSING_OPERATOR.search(str(error))
            if missing is None or missing[1] in _declared or len(_declared) == OPERATORS_AT_MOST:
                raise
            # Never called, so its signature does not matter.
            library = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(f"{missing[1]}() -> ()")  # type: ignore[no-untyped-call]
            _declared[missing[1]] = library
            for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
                del sys.modules[module]  # half an import must not answer for the next one
