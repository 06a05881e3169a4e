"""What found no room in a step of dispatch: who need not be tried after it, and why each of them waits."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache

from app.coordinator.placement.place import Want
from app.ledger.waiting import WaitingJob, Wish
from app.pool.model import JobId, Requirement, WorkerId

# Why a job waits that avoids these workers, and wants more than so many MiB where that is not 0.
WhyWaiting = Callable[[Requirement, frozenset[WorkerId], int], str]

TOLD, TELLING_S = 64, 0.05  # of those that wait for reasons of their own; the fleet is asked for so long
MOST_DIFFERENT = 16  # wishes of a class; what else finds no room is tried each time
MOST_SENT = 256  # to the query for further jobs, which compares them with each that it passes


@dataclass(frozen=True)
class Candidate:
    """A waiting job in its place in the order, and how it is to be placed."""

    waiting: WaitingJob
    avoided: frozenset[WorkerId]  # of those where it failed, if others can run it
    want: Want

    @property
    def wish(self) -> Wish:
        """What it wants of what can be had."""
        return replace(self.waiting.wish, failed_on=self.avoided, above_mb=self.want.above_mb)


class LeftOver:
    """Of one step. Those that may not go where others of their class may have reasons of their own."""

    def __init__(self, why_waiting: WhyWaiting, now: Callable[[], float]) -> None:
        self._now = now
        self._why = cache(why_waiting)  # of many that are alike the fleet is asked once
        self._asked_s = 0.0
        self._wishes: dict[str, list[Wish]] = {}
        self._first: dict[str, JobId] = {}  # of each class the first with a reason of its own
        self.classes: set[str] = set()  # those with jobs that wait as their class does
        self.own: dict[JobId, str] = {}

    def note(self, left: Candidate, unsure: bool) -> None:
        """This one found no room; `unsure`: that says nothing of others, who may find some where it did not look."""
        name, wish = left.waiting.class_name, left.wish
        if not unsure:
            self._learn(wish)
        if not (wish.without or wish.failed_on or wish.above_mb):
            self.classes.add(name)
        elif len(self.own) < TOLD and self._asked_s < TELLING_S:
            began, avoided = self._now(), wish.without | wish.failed_on
            self.own[left.waiting.job.id] = self._why(left.waiting.job.spec.requirement, avoided, wish.above_mb)
            self._asked_s += self._now() - began
            self._first.setdefault(name, left.waiting.job.id)

    def is_known(self, wish: Wish) -> bool:
        """Whether one that wanted no more than this found none."""
        return any(each.is_within(wish) for each in self._wishes.get(wish.class_name, ()))

    def no_room(self, classes: Collection[str]) -> list[Wish]:
        """What is known of these classes."""
        return [each for name in classes for each in self._wishes.get(name, ())][:MOST_SENT]

    def of_whole_classes(self) -> dict[str, str]:
        """Why those classes wait of which all that is left avoids some worker: as the first of it does."""
        return {name: self.own[job] for name, job in self._first.items() if name not in self.classes}

    def _learn(self, wish: Wish) -> None:
        if self.is_known(wish):
            return
        others = [each for each in self._wishes.get(wish.class_name, ()) if not wish.is_within(each)]
        # Of many different ones those that rule out most are of use: such as avoid nobody.
        self._wishes[wish.class_name] = sorted([*others, wish], key=_narrowness)[:MOST_DIFFERENT]


def _narrowness(wish: Wish) -> int:
    return len(wish.without) + len(wish.failed_on) + (wish.above_mb > 0)
