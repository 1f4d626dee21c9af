"""Runs in TensorBoard: a folder a study, in it a folder a record, named in words and by digest.

A record holds no date, so all times in TensorBoard are those of the export.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ablations.trackers.content import TrackedRun
from hvae.records.files import probe, slug, writing_under

MARK = "record.sha256"  # beside a run's events: which record they are of
LONGEST = 100  # characters of a folder's name before the digest


@dataclass(frozen=True)
class TensorBoard:
    """The folder of a study."""

    folder: Path

    def holds(self, digest: str, record_sha256: str) -> bool:
        """Whether this very record was exported."""
        marks = [path / MARK for path in self._of(digest)]
        return any(mark.read_text() == record_sha256 for mark in marks if mark.is_file())

    def write(self, run: TrackedRun) -> None:
        """Export a run in place of what the folder held of its digest: whole or not at all."""
        partial = self.folder / f"{run.digest}.partial"
        with writing_under(self.folder, "to"):
            shutil.rmtree(partial, ignore_errors=True)
            _write_events(partial, run)
            (partial / MARK).write_text(run.record_sha256)
            for old in self._of(run.digest):
                shutil.rmtree(old)
            partial.rename(self.folder / f"{slug(run.name)[:LONGEST]}-{run.digest}")

    def _of(self, digest: str) -> Iterable[Path]:
        return list(self.folder.glob(f"*-{digest}"))


def open_tensorboard(folder: str, study: str) -> TensorBoard:
    """The study's folder in a folder of TensorBoard's, made where it is not there.

    Raises `ValueError` where tensorboard is not installed and where nothing can be written.
    """
    try:
        import_module("tensorboard")  # torch's writer needs it
    except ModuleNotFoundError:
        raise ValueError(
            "to: 'tensorboard' is not installed; allowed after `pip install 'hvae[tensorboard]'`"
        ) from None
    path = Path(os.path.expanduser(folder)) / study
    with writing_under(path, "to"):
        path.mkdir(parents=True, exist_ok=True)
        probe(path)
    return TensorBoard(path)


def _write_events(folder: Path, run: TrackedRun) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    last = {point.name: None for point in run.points if point.step == 0}
    made = json.dumps(run.tags, indent=1).replace("\n", "\n    ")  # in Markdown: shown as it is
    with SummaryWriter(str(folder)) as writer:
        for part in hparams(dict(run.settings), last):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(part)
        writer.add_text("tags", f"    {made}")
        for name, step, number in run.points:
            writer.add_scalar(name, number, step)
        for name, pixels in run.pictures.items():
            writer.add_image(f"pictures/{name}", pixels, dataformats="HW")
