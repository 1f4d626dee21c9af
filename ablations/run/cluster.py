"""Tasks on the nodes of a running Ray cluster, with the outcomes of workers of this machine.

The sources of this process are shipped to the nodes. What a node says goes through a mailbox beside
this process, message by message as a worker's pipe: nothing that was said is lost with its node.
"""

import os
import pickle
import pkgutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from logging import CRITICAL
from pathlib import Path
from typing import Any, NamedTuple, cast

from ablations.run.executors import (
    NODES_LOST,
    NodeDied,
    OnProgress,
    Outcome,
    R,
    T,
    first,
    ignore,
)
from ablations.run.progress import say
from hvae.processes import (
    END,
    OUTCOME,
    PROGRESS,
    Function,
    Progress,
    WorkerDied,
    WorkerFailed,
    answers,
    settle,
)

PACKAGES = ("hvae", "bench", "report", "ablations")
POLL_SECONDS = 0.2
NO_CLUSTER = (ConnectionError, RuntimeError, ValueError, TimeoutError)  # ray.init, beside its own
# Read when ray is imported. A cut link is noticed within half a minute, not seven; what the nodes
# print does not get between the bars.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # to join: each takes 45 s
}
ANSWER_SECONDS = 10.0


@contextmanager
def joined(address: str | None, workers: int, device: str) -> Iterator["Ray"]:
    """The cluster at an address, by default $RAY_ADDRESS: joined, and left at the end of the block.

    Raises `ValueError` where there is no address, no ray, no cluster there, or no GPU that is asked
    for. None is ever started.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        raise ValueError(
            "address: none is given; allowed: that of a running Ray cluster, or $RAY_ADDRESS set"
        )
    _require_listener(address)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError(
            "executor: 'ray' is not installed; allowed after `pip install 'hvae[ray]'`"
        ) from None
    shipped = {"py_modules": [str(Path(__file__).parents[2] / name) for name in PACKAGES]}
    try:
        ray.init(address, log_to_driver=False, logging_level=CRITICAL, runtime_env=shipped)
    except (*NO_CLUSTER, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise ValueError(f"address: no Ray cluster to join at {address!r}: {reason}") from None
    try:
        yield Ray(workers, _device(device, address), _mailbox())
    finally:
        ray.shutdown()  # and with it the mailbox


def _require_listener(address: str) -> None:
    """Raise `ValueError` where nothing answers: ray would try for ten minutes, aloud."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"address: {address!r} is not allowed; allowed: HOST:PORT")
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"address: nothing answers at {address!r}: {reason}") from None


def _mailbox() -> Any:
    """One beside this process."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()


def _device(name: str, address: str) -> str:
    """cpu or cuda, for `auto` whichever the cluster offers. Raises `ValueError`."""
    import ray

    offers = ray.cluster_resources()
    if name != "cpu" and offers.get("GPU", 0) >= 1:
        return "cuda"
    if name == "cuda":
        raise ValueError(f"device: 'cuda' is on no node of {address}; allowed: auto, cpu")
    if offers.get("CPU", 0) < 1:
        say(f"no node of {address} offers a core: waiting for one")
    return "cpu"


@dataclass(frozen=True)
class Ray:
    """So many tasks at a time on the nodes of the cluster that was joined, each with a core of its
    own, on cuda a GPU too."""

    workers: int
    device: str
    mailbox: Any
    prepare: Callable[[], None] = settle
    numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def open(self, tasks: int) -> Iterator["Calls"]:
        """Calls; however the block is left, those that go on are ended."""
        import ray

        calls = Calls(self)
        try:
            yield calls
        finally:
            with suppress(ray.exceptions.RayError):
                for call in calls.busy:
                    ray.cancel(call, force=True)

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        with self.open(0) as calls:
            yield from calls.map(function, tasks, on_progress)

    def ask(self, function: Callable[[T], R], argument: T) -> R:
        """The result of the function on a node; raises as `first`, `ValueError` if none answers."""
        for _ in range(1 + NODES_LOST):
            (outcome,) = self.map(_ask, [(function, argument)])
            if not isinstance(outcome.error, NodeDied):
                break
        if isinstance(outcome.error, WorkerDied):
            raise ValueError(f"executor: no node of the cluster answers: {outcome.error}")
        return cast(R, first([outcome]))


class Mailbox:
    """An actor that holds what was said until it is taken."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []

    def put(self, number: int, message: bytes) -> None:
        self.messages.append((number, message))

    def take(self) -> list[tuple[int, bytes]]:
        taken, self.messages = self.messages, []
        return taken


class Message(NamedTuple):
    """A message of the call of that number."""

    number: int
    kind: str
    value: Any = None


class Calls:
    """Tasks that nodes are at, by what Ray calls them; numbers tell whose a message is."""

    def __init__(self, cluster: Ray) -> None:
        import ray

        self.workers = cluster.workers
        self.mailbox, self.numbers = cluster.mailbox, cluster.numbers
        self.prepare = f"{cluster.prepare.__module__}:{cluster.prepare.__qualname__}"
        wants = {"num_cpus": 1, "num_gpus": int(cluster.device == "cuda")}
        self.remote = ray.remote(serve).options(max_retries=0, **wants)
        self.busy: dict[Any, int] = {}
        self.tasks: dict[int, Any] = {}

    def map(
        self, function: Function[T, R], tasks: Iterable[T], on_progress: OnProgress[T] = ignore
    ) -> Iterator[Outcome[T, R]]:
        """As `Local.map`; to be heard to its end before the next."""
        waiting, heard = iter(tasks), list[Message]()
        while True:
            for task in islice(waiting, self.workers - len(self.busy)):
                number = next(self.numbers)
                call = pickle.dumps((function, task))
                self.busy[self.remote.remote(self.prepare, call, self.mailbox, number)] = number
                self.tasks[number] = task
            yield from self._told(heard, on_progress)  # only now: no node idles meanwhile
            if not self.busy:
                return
            heard = self._heard()

    def _heard(self) -> list[Message]:
        """Messages until now, or soon: of a call that ended, all that it said; of one that was
        lost, that it was."""
        import ray

        ended, _ = ray.wait(list(self.busy), timeout=POLL_SECONDS)
        try:
            messages = ray.get(self.mailbox.take.remote())  # after the wait
        except ray.exceptions.RayError as error:
            raise WorkerFailed(f"executor: the cluster is lost: {_lost(error)}") from error
        heard = [Message(number, *pickle.loads(message)) for number, message in messages]
        for call in ended:
            number = self.busy.pop(call)
            try:
                ray.get(call)
            except ray.exceptions.RayError as error:
                heard += [Message(number, OUTCOME, (None, _lost(error))), Message(number, END)]
        return heard

    def _told(
        self, heard: Iterable[Message], on_progress: OnProgress[T]
    ) -> Iterator[Outcome[T, Any]]:
        """Progress passed on, outcomes returned; what a call that was given up says is neither."""
        for number, kind, value in heard:
            if number in self.tasks and kind == PROGRESS:
                on_progress(self.tasks[number], *value)
            elif number in self.tasks and kind == OUTCOME:
                yield Outcome(self.tasks[number], *value)
            elif kind == END:
                self.tasks.pop(number, None)


def serve(prepare: str, call: bytes, mailbox: Any, number: int) -> None:
    """A call on a node. What it found is in the mailbox before it goes on."""
    import ray

    def report(done: int, total: int) -> None:
        mailbox.put.remote(number, pickle.dumps((PROGRESS, (done, total))))

    pkgutil.resolve_name(prepare)()
    for answer in answers(call, report):
        ray.get(mailbox.put.remote(number, answer))


def _ask(asked: tuple[Callable[[T], R], T], progress: Progress) -> Iterator[R]:
    function, argument = asked
    yield function(argument)


def _lost(error: Exception) -> WorkerDied:
    """What a call came to that did not end."""
    from ray import exceptions

    if isinstance(error, exceptions.NodeDiedError):
        return NodeDied("its node left the cluster")
    if isinstance(error, exceptions.OutOfMemoryError):
        return WorkerDied("its node ran out of memory")
    if isinstance(error, exceptions.WorkerCrashedError):
        return WorkerDied("killed, crashed or out of memory")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return WorkerDied(lines[-1] if lines else type(error).__name__)
