"""From packs to records: every run is recorded as it ends, and what fails is tried again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ablations.grid import Pack, halves, without
from ablations.run.executors import Executor, OnProgress, Outcome
from ablations.run.messages import say
from ablations.run.pack import Conditions, Finished, Task, run_pack
from ablations.run.throughput import Throughput
from hvae.config import RunConfig
from hvae.processes import WorkerDied
from hvae.records.provenance import SourcesChanged
from hvae.records.store import Record, Store

OnRecord = Callable[[Record], None]
Outcomes = Iterator[Outcome[Task, Finished]]


def run_study(
    packs: Sequence[Pack],
    store: Store,
    executor: Executor,
    conditions: Conditions,
    throughput: dict[RunConfig, Throughput],
    on_progress: OnProgress[Task],
    on_record: OnRecord,
) -> int:
    """Train the packs, record each run as it ends. The number of runs that failed: also those of
    sources that changed, rather than bear a wrong name."""
    tasks = [Task(pack, conditions, throughput) for pack in packs]
    recording = Recording(store, on_record)
    while tasks:
        again: list[Task] = []
        for outcome in _outcomes(tasks, executor, on_progress):
            if outcome.result is not None:
                recording.publish(outcome.result)
            else:
                assert outcome.error is not None
                left = without(outcome.task.pack, recording.recorded)
                parts = retries(replace(outcome.task, pack=left), outcome.error)
                again += parts
                if not parts:
                    recording.fail(left, outcome.error)
        tasks = again
    return recording.failed


def retries(task: Task, error: BaseException) -> list[Task]:
    """What is tried after a failure; nothing where it stands.

    A worker that died: the task once more, alone on the machine. Too little memory: its halves,
    alone. Any other failure of several runs, and a second death: each run by itself, so that one
    does not take the others along.
    """
    runs = task.pack.runs
    if isinstance(error, WorkerDied) and not task.is_alone and runs:
        return [replace(task, is_alone=True)]
    if len(runs) < 2 or isinstance(error, SourcesChanged):
        return []
    if is_out_of_memory(error):
        return [replace(task, pack=pack, is_alone=True) for pack in halves(task.pack)]
    return [replace(task, pack=Pack(task.pack.study, (run,))) for run in runs]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less memory may help: torch raises its own errors."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    is_said = any(word in str(error).lower() for word in words)
    return isinstance(error, MemoryError) or (is_said and not isinstance(error, WorkerDied))


@dataclass
class Recording:
    """What becomes of the runs: recorded or failed. A disk that is full fails a run, no more."""

    store: Store
    on_record: OnRecord
    recorded: set[str] = field(default_factory=set)
    failed: int = 0
    said: set[str] = field(default_factory=set)

    def publish(self, finished: Finished) -> None:
        """Put a run into the store."""
        try:
            self.store.write(*finished)
        except OSError as error:
            self._fail(f"cannot write under {self.store.runs}: {error.strerror or error}")
            return
        self.recorded.add(finished.record.digest)
        self.on_record(finished.record)

    def fail(self, pack: Pack, error: BaseException) -> None:
        """Leave word of why the runs of a pack have no record."""
        for run in pack.runs:
            self._fail(str(error) if isinstance(error, SourcesChanged) else "")
            with suppress(OSError):  # of a full disk
                self.store.write_failure(run, error)

    def _fail(self, line: str) -> None:
        self.failed += 1
        if line and line not in self.said:
            self.said.add(line)
            say(line)


def _outcomes(tasks: Sequence[Task], executor: Executor, on_progress: OnProgress[Task]) -> Outcomes:
    """Those that may share the machine, then each that is to have it alone."""
    yield from executor.map(run_pack, [t for t in tasks if not t.is_alone], on_progress)
    for task in tasks:
        if task.is_alone:
            yield from executor.map(run_pack, [task], on_progress)
