"""Runs in MLflow: an experiment a study, a run a record, found again by its tag `hvae.digest`.

A record holds no date, so all times in MLflow are those of the export.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ablations.trackers.content import TrackedRun

DIGEST, RECORD = "hvae.digest", "hvae.record_sha256"
AT_ONCE = 900  # metrics in a request, or runs: MLflow takes 1000 of both with the parameters
LONGEST = 500  # characters of a parameter: the least that a server of these years takes
ENVIRONMENT = {  # read by mlflow; what the user has set stays
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # seven take minutes, and the next export goes on
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run
}


@dataclass(frozen=True)
class Mlflow:
    """An experiment of a server or a local store, and what it held of each digest when it was
    opened."""

    uri: str
    client: Any
    experiment: str
    earlier: dict[str, list[Any]]

    def holds(self, digest: str, record_sha256: str) -> bool:
        """Whether this very record was exported to its end: a run that is still RUNNING was not."""
        return any(
            run.data.tags.get(RECORD) == record_sha256 and run.info.status in ("FINISHED", "FAILED")
            for run in self.earlier.get(digest, ())
        )

    def write(self, run: TrackedRun) -> None:
        """Export a run in place of what the experiment held of its digest."""
        with _answers(self.uri):
            for old in self.earlier.pop(run.digest, ()):
                self.client.delete_run(old.info.run_id)
            made = self.client.create_run(self.experiment, run_name=run.name, tags=_tags(run))
            self._fill(made.info.run_id, made.info.start_time, run)
            status = "FAILED" if run.is_diverged else "FINISHED"
            self.client.set_terminated(made.info.run_id, status)

    def _fill(self, run_id: str, milliseconds: int, run: TrackedRun) -> None:
        from mlflow.entities import Metric, Param

        settings = [Param(name, str(held)[:LONGEST]) for name, held in run.settings.items()]
        metrics = [Metric(name, held, milliseconds, step) for name, step, held in run.points]
        for start in range(0, len(metrics), AT_ONCE):
            some = metrics[start : start + AT_ONCE]
            self.client.log_batch(run_id, some, () if start else settings)
        for name, pixels in run.pictures.items():
            self.client.log_image(run_id, pixels, artifact_file=f"pictures/{name}.png")


def open_mlflow(uri: str, study: str) -> Mlflow:
    """The experiment named like the study, made where it is not there.

    Raises `ValueError` where mlflow is not installed and where nothing answers at the address.
    """
    for name, setting in ENVIRONMENT.items():
        os.environ.setdefault(name, setting)
    with _answers(uri):
        from mlflow import MlflowClient
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 1  # of a database; ten take two minutes
        for name in ("mlflow", "alembic"):  # they tell of each step of making a database
            logging.getLogger(name).setLevel(logging.ERROR)
        client = MlflowClient(uri, uri)
        known = client.get_experiment_by_name(study)
        experiment = known.experiment_id if known else client.create_experiment(study)
        return Mlflow(uri, client, experiment, _earlier(client, experiment))


def without_password(text: str) -> str:
    """A text without the name and password that an address in it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _earlier(client: Any, experiment: str) -> dict[str, list[Any]]:
    """The runs of an experiment that were exported from records, by digest."""
    found: dict[str, list[Any]] = {}
    token = None
    while token != "":
        page = client.search_runs([experiment], max_results=AT_ONCE, page_token=token)
        for run in page:
            if DIGEST in run.data.tags:
                found.setdefault(run.data.tags[DIGEST], []).append(run)
        token = page.token or ""
    return found


def _tags(run: TrackedRun) -> dict[str, str]:
    return {f"hvae.{name}": held for name, held in run.tags.items()} | {RECORD: run.record_sha256}


@contextmanager
def _answers(uri: str) -> Iterator[None]:
    """Raise `ValueError` in one line where mlflow is not there, or does not do what it is asked."""
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ModuleNotFoundError as error:
        raise ValueError(
            f"to: {error.name!r} is not installed; allowed after `pip install 'hvae[mlflow]'`"
        ) from None
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        told = f"to: 'mlflow:{uri}' does not take the runs: {reason}"
        raise ValueError(without_password(told)) from error
