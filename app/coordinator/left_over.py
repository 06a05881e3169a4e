"""What found no room in a step of dispatch: who need not be tried after it, and why each of them waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from app.coordinator.fleet import Fleet
from app.coordinator.placing import Want
from app.ledger.waiting import NoRoom, WaitingJob
from app.pool.model import JobId, WorkerId

TOLD = 64  # of those that wait for reasons of their own
MOST_DIFFERENT = 16  # of a class; what else finds no room is tried each time


@dataclass(frozen=True)
class Candidate:
    """A waiting job in its place in the order, and how it is to be placed."""

    waiting: WaitingJob
    without: frozenset[WorkerId]  # those that it avoids itself; `want` excludes others too
    want: Want

    @property
    def no_room(self) -> NoRoom:
        """What is known when it finds no room."""
        return NoRoom(self.waiting.class_name, self.want.least_mb, self.without)


class LeftOver:
    """Of one step. Those that may not go where others of their class may have reasons of their own."""

    def __init__(self, fleet: Fleet) -> None:
        self._why = cache(fleet.why_waiting)  # of many that are alike the fleet is asked once
        self._no_room: dict[str, list[NoRoom]] = {}
        self._first: dict[str, JobId] = {}  # of each class the first with a reason of its own
        self.classes: set[str] = set()  # those with jobs that wait as their class does
        self.own: dict[JobId, str] = {}

    def note(self, left: Candidate) -> None:
        """This one found no room."""
        name = left.waiting.class_name
        known = self._no_room.setdefault(name, [])
        if len(known) < MOST_DIFFERENT:
            known[:] = [each for each in known if not left.no_room.holds_for(each)] + [left.no_room]
        if not (left.without or left.want.above_mb):
            self.classes.add(name)
        elif len(self.own) < TOLD:
            needs = left.waiting.job.spec.requirement
            self.own[left.waiting.job.id] = self._why(needs, left.without, left.want.above_mb)
            self._first.setdefault(name, left.waiting.job.id)

    def is_known(self, candidate: Candidate) -> bool:
        """Whether one that needed no more than this one found none."""
        return any(each.holds_for(candidate.no_room) for each in self._no_room.get(candidate.waiting.class_name, ()))

    def no_room(self) -> Iterator[NoRoom]:
        """All that is known."""
        return (each for some in self._no_room.values() for each in some)

    def of_whole_classes(self) -> dict[str, str]:
        """Why those classes wait of which all that is left avoids some worker: as the first of it does."""
        return {name: self.own[job] for name, job in self._first.items() if name not in self.classes}
