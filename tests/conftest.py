"""What all tests share: one thread, no repository of a hook, the `--run-slow` option, a few digits,
a fresh interpreter."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from hvae.closed_form import parameter_count
from hvae.config import DataConfig, RunConfig, as_dict
from hvae.data import images
from hvae.data.images import Images, load
from hvae.records.provenance import code
from hvae.records.store import Record
from hvae.settings import digest

settings.register_profile("hvae", deadline=None)  # machines are shared, disks slow
settings.load_profile("hvae")
FEW = 70  # training images: four batches of 16 and a short one of 6


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_asked = any("cuda" in item.keywords for item in items)
    reasons = {
        "slow": not config.getoption("--run-slow") and "minutes long; see `pytest --run-slow`",
        "cuda": is_asked and not _has_gpu() and "needs an NVIDIA GPU",
        "mlflow": _lacks("mlflow", "sqlalchemy", "alembic")
        and "needs mlflow: pip install -e '.[mlflow]'",
        "tensorboard": _lacks("tensorboard")
        and "needs tensorboard: pip install -e '.[tensorboard]'",
        "ray": _lacks("ray") and "needs ray: pip install -e '.[ray]'",
    }
    for item in items:
        for marker in reasons.keys() & item.keywords.keys():
            if reason := reasons[marker]:
                item.add_marker(pytest.mark.skip(reason=reason))


def _lacks(*packages: str) -> bool:
    return any(find_spec(package) is None for package in packages)


def _has_gpu() -> bool:
    from torch.cuda import is_available  # seconds, and many tests need no torch

    return is_available()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As the workers do: a second thread costs more than it gives, and may change the last bit."""
    from hvae.processes import one_thread

    one_thread()


@pytest.fixture(scope="session", autouse=True)
def _no_repository_of_a_hook() -> None:
    """Run from a git hook, tests would else commit into the developer's repository."""
    if shutil.which("git") is None:
        return
    command = ["git", "rev-parse", "--local-env-vars"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def _no_wait_for_disks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files reach the disk when they do: only tests of records and of damage care."""
    if not {"records", "torture"} & set(request.path.parts):
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session", autouse=True)
def _digits_read_once() -> Iterator[None]:
    """Their file is text, which takes longer to parse than they to train on; each gets a copy."""
    read = cache(images._load_digits)

    def copy() -> images.Grey:
        levels, *arrays = read()
        return images.Grey(levels, *(array.copy() for array in arrays))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_load_digits", copy)
        yield


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traced engine's step as it is, not as the graph that takes half a second a batch size to
    build; that both have the same bits is tested in test_fit.py."""
    monkeypatch.setattr("hvae.training.traced.make_fx", lambda step: lambda *arguments: step)


@pytest.fixture(scope="session")
def few_digits() -> Images:
    """The bundled digits, cut to `FEW` for training and 40 for the test."""
    digits = load(DataConfig("digits"), Path())
    return dataclasses.replace(
        digits,
        train=digits.train[:FEW],
        train_labels=digits.train_labels[:FEW],
        test=digits.test[:40],
        test_labels=digits.test_labels[:40],
        test_binary=digits.test_binary[:40],
    )


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Standard output of a piece of code in an interpreter of its own."""

    def run(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@cache
def code_at_hand() -> dict[str, Any]:
    """`code()`, asked once: git takes longer than to write a record."""
    return code()


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """A whole record of a run by the sources at hand, its scoreboard NLL as given."""

    def make(run: RunConfig, study: str = "quick", nll: float | None = 90.0) -> Record:
        return Record(
            study=study,
            digest=digest(run),
            config=as_dict(run),
            status="diverged" if nll is None else "finished",
            data_sha256="0" * 64,
            code=code_at_hand(),
            environment={},
            parameters=parameter_count(run.model),
            flops_per_image=1,
            history=[{"epoch": 1, "loss": 1.0}],
            metrics={"scoreboard_nll_nats": nll},
            throughput={},
            seconds={"train": 1.0, "evaluate": 1.0},
        )

    return make
