"""What becomes of the runs of a study as they end: recorded, tried again, or failed."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from ablations.grid import Pack, halves
from ablations.run.executors import NODES_LOST, NodeDied
from ablations.run.pack import Finished
from ablations.run.sharing import Sharing
from hvae.config import RunConfig
from hvae.records.sources import SourcesChanged
from hvae.records.store import Store
from hvae.settings import digest


def retries(pack: Pack, error: BaseException) -> list[Pack]:
    """What is tried after a failure: the halves of what is left of a pack, so that no run takes
    others along, nor what lacks memory; nothing of one run, or where the sources changed."""
    if len(pack.runs) < 2 or isinstance(error, SourcesChanged):
        return []
    return halves(pack)


@dataclass
class Recording:
    """What becomes of the runs: recorded or failed. A disk that is full fails a run, no more."""

    store: Store
    sharing: Sharing
    recorded: set[str] = field(default_factory=set)
    nodes_lost: Counter[tuple[RunConfig, ...]] = field(default_factory=Counter)

    def retries(self, pack: Pack, error: BaseException) -> list[Pack]:
        """What is tried after a failure; the whole pack where it was its node's."""
        if isinstance(error, NodeDied) and self.nodes_lost[pack.members] < NODES_LOST:
            self.nodes_lost[pack.members] += 1
            return [pack] if pack.runs else []
        return retries(pack, error)

    def publish(self, finished: Finished) -> None:
        """Put a run into the store."""
        try:
            self.store.write(*finished)
        except OSError as error:
            self.sharing.say_once(
                f"cannot write under {self.store.runs}: {error.strerror or error}"
            )
            return
        self.recorded.add(finished.record.digest)
        self.sharing.release(finished.record.digest)
        self.sharing.shown.add(finished.record)

    def fail(self, pack: Pack, error: BaseException) -> None:
        """Leave word of why the runs of a pack have no record."""
        if isinstance(error, SourcesChanged) and pack.runs:
            self.sharing.say_once(str(error))
        for run in pack.runs:
            with suppress(OSError):  # of a full disk
                self.store.write_failure(run, error)
            self.sharing.release(digest(run))
