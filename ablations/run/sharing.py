"""The runs of a study, shared among all the `hvae run` that work on its folder: each run is trained
by one of them at a time, and what one of them leaves undone another takes up."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ablations.grid import Pack, without
from ablations.run.progress import Display, say
from hvae.config import RunConfig
from hvae.records.claims import Claims
from hvae.records.standings import Standing
from hvae.settings import digest

FILE = ".claims"  # in the folder of a study; empty
TIMING = 2**61  # the claim on timing; those on runs are smaller
PAUSE_SECONDS = 1.0  # between two looks at what others train


@dataclass
class Sharing:
    """What this process takes of the packs that are left.

    `survey` says how runs stand now, `to_do` which of them are to be trained.
    """

    claims: Claims
    survey: Callable[[Sequence[RunConfig]], list[Standing]]
    to_do: Callable[[Sequence[Standing]], set[str]]
    shown: Display
    held: list[Pack] = field(default_factory=list)
    taken: int = 0
    said: set[str] = field(default_factory=set)

    @contextmanager
    def timing(self) -> Iterator[None]:
        """A block in which no other of them times: what the first has timed the next one reads."""
        if not self.claims.take(TIMING):
            say("another hvae run is timing the models: waiting for it")
        with self.claims.alone(TIMING):
            yield

    def take(self, packs: Iterable[Pack]) -> Iterator[Pack]:
        """Of each pack, when its turn comes, the runs to train that nobody else trains, claimed;
        what others hold is kept for `rest`."""
        for pack in packs:
            mine, others = self._split(pack)
            self._say_where_none_are_kept()
            self.shown.replace(pack, [part for part in (mine, others) if part.runs])
            if others.runs:
                self.held.append(others)
            if mine.runs:
                self.taken += 1
                yield mine

    def rest(self) -> list[Pack]:
        """What others held, to be looked at again; a pause later where they hold all there is."""
        if self.held and not self.taken:
            self.say_once("other runs are being trained by another hvae run: waiting for them")
            time.sleep(PAUSE_SECONDS)
        rest, self.held, self.taken = self.held, [], 0
        return rest

    def release(self, name: str) -> None:
        """The run of this digest is recorded, or has failed for good."""
        self.claims.release(_number(name))

    def _split(self, pack: Pack) -> tuple[Pack, Pack]:
        """What is to train of a pack and claimed now, and what others hold. What they recorded
        meanwhile is in neither."""
        names = {digest(run): run for run in pack.runs}
        claimed = {name: run for name, run in names.items() if self.claims.take(_number(name))}
        # Only now: nobody else adds to them. Of none it would look through the folder in vain.
        standings = self.survey(list(claimed.values())) if claimed else []
        todo = self.to_do(standings)
        for standing in standings:
            if standing.digest not in todo:
                self.release(standing.digest)
                if standing.record is not None:
                    self.shown.add(standing.record)
        return without(pack, names.keys() - todo), without(pack, set(claimed))

    def _say_where_none_are_kept(self) -> None:
        if not self.claims.are_kept:
            self.say_once(
                "this file system keeps no locks: a second hvae run on this folder would train "
                "the same runs"
            )

    def say_once(self, line: str) -> None:
        """Say what one time is enough for."""
        if line not in self.said:
            self.said.add(line)
            say(line)


def _number(name: str) -> int:
    """Of a run's digest, below that of `TIMING`."""
    return int(name[:15], 16)
