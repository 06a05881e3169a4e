"""Dispatch: which of the waiting jobs come next, and where each of them is placed.

Classes that nobody has room for cost a look at an empty set; of the others the heads are put in order,
placed by the scripts in one round trip, and assigned (assigning.py). What is left over says why.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.coordinator.assigning import Assigning, Placed
from app.coordinator.eligible import Eligible
from app.coordinator.envelopes import Envelopes
from app.coordinator.fleet import Fleet
from app.coordinator.kept import Kept
from app.coordinator.leases import Leases
from app.coordinator.order import QueueKey, in_order, queue_of
from app.coordinator.parked import Parked
from app.coordinator.placing import Run, Want
from app.coordinator.stores import Stores
from app.coordinator.waiting import why_waiting
from app.ledger import waiting
from app.ledger.waiting import WaitingJob
from app.pool.faults import point
from app.pool.model import JobId, WorkerId

PORTION = 256  # jobs that are placed in one round trip, and assigned in one statement
HEADS, MORE, MOST_HEADS = 1, 8, 512  # of each queue: a first look, and the next ones where that was not all
TOLD = 64  # of those that wait for reasons of their own, in one step
LONGEST_S = 1.0  # then reports and health have their turn
SERVED_S = 3600.0  # what a queue was given so long ago says nothing of its turn any more


@dataclass(frozen=True)
class Candidate:
    """A waiting job in its place in the order, and the workers that are kept for jobs before it."""

    waiting: WaitingJob
    behind: frozenset[WorkerId]


class Dispatch:
    """Gives waiting jobs to workers."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        eligible: Eligible,
        leases: Leases,
        envelopes: Envelopes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._eligible = eligible
        self._assigning = Assigning(stores, fleet, leases, envelopes)
        self._now = now
        self._parked = Parked(stores.ledger, fleet, now)
        self.kept = Kept(stores, fleet)
        self._missed: set[str] = set()  # had room for the least of their jobs, but not for those that came first
        self._began = now()
        self._served: dict[QueueKey, float] = {}  # when a queue was given something; before a restart is as never
        self._own: dict[JobId, str] = {}  # of this step: why those wait that wait for reasons of their own
        self._told = True  # whether any had such a reason after the last step; of an older leader's nothing is known
        self._fits: dict[tuple[str, int], bool] = {}  # of this step: whether any worker has so much memory for a class

    def step(self, sweep: bool) -> bool:
        """Place what can be placed now; note why the rest waits.

        `sweep`: what has changed without dispatch is looked at too. True when a worker proved to be other than we knew.
        """
        began = self._now()
        until = began + LONGEST_S
        self._own, self._fits = {}, {}
        if sweep:
            self._served = {key: at for key, at in self._served.items() if began < at + SERVED_S}
        classes = {each.name: each for each in waiting.classes(self._ledger)}
        has_room = self._eligible.has_room({name: each.requirement for name, each in classes.items()})
        open_classes, full = has_room, classes.keys() - has_room
        because: dict[str, str] = {}
        each = HEADS
        while open_classes:
            heads = waiting.heads(self._ledger, open_classes, each)
            crowded: set[str] = set()
            given, wanted = self._give(self._candidates(heads, full), crowded)
            if given < wanted:
                return True
            full |= crowded
            because |= self.kept.why([classes[name] for name in crowded])
            open_classes = _longer(heads, each) - crowded
            if self._now() > until or (each == MOST_HEADS and not given):
                break
            each = min(MOST_HEADS, each * MORE)
        self._missed = full & has_room
        self._parked.step([classes[name] for name in sorted(full)], because)
        own = self._parked.own() | self._own
        if own or self._told or sweep:
            waiting.note_jobs(self._ledger, own)
        self._told = bool(own)
        return False

    def _give(self, candidates: Sequence[Candidate], crowded: set[str]) -> tuple[int, int]:
        """How many of these were assigned, and how many were to be; adds the classes that had room for no more.

        In portions: most often few slots are free, and who waits are many.
        """
        given = wanted = 0
        for first in range(0, len(candidates), PORTION):
            some = candidates[first : first + PORTION]
            placed, left_over = self._place([each for each in some if each.waiting.class_name not in crowded])
            moved = self._assigning.assign(placed)
            self._served |= {queue_of(each.waiting): self._now() for each in moved}
            crowded |= self._note(left_over)
            given, wanted = given + len(moved), wanted + len(placed)
        return given, wanted

    def _candidates(self, heads: Sequence[WaitingJob], full: set[str]) -> list[Candidate]:
        """In their order; jobs that need much at once keep a worker from those behind them."""
        large = waiting.heads(self._ledger, full & self._parked.large, 1)
        everyone = [*heads, *large]
        owners = {head.job.spec.owner for head in everyone}
        held = waiting.slots_in_use(self._ledger) if len(owners) > 1 else {}
        ordered = in_order(everyone, held, lambda key: self._now() - self._served.get(key, self._began))
        self.kept.choose(_first_of_each(ordered, full | (self._missed & self._parked.large)))
        found, behind = [], frozenset[WorkerId]()
        for head in ordered:
            if head.class_name not in full:
                found.append(Candidate(head, behind))
            behind |= self.kept.of(head.job.id)
        return found

    def _place(self, candidates: Sequence[Candidate]) -> tuple[list[Placed], list[tuple[WaitingJob, Want]]]:
        placed: list[Placed] = []
        strange: list[Placed] = []  # on workers that have gone since the sets were written
        left_over: list[tuple[WaitingJob, Want]] = []
        parts = [list(some) for _, some in groupby(candidates, lambda each: each.waiting.class_name)]
        runs = [
            Run(
                some[0].waiting.class_name,
                some[0].waiting.job.spec.requirement,
                tuple(self._want(each) for each in some),
            )
            for some in parts
        ]
        for some, run, places in zip(parts, runs, self._eligible.place(runs), strict=True):
            for each, want, place in zip(some, run.wants, places, strict=True):
                worker = self._fleet.workers.get(place.worker) if place else None
                if place and worker:
                    placed.append(Placed(each.waiting, place, worker.incarnation, worker.revision))
                elif place:
                    strange.append(Placed(each.waiting, place, 0, 0))
                else:
                    left_over.append((each.waiting, want))
        self._assigning.give_back(strange)
        point("dispatch.placed")
        return placed, left_over

    def _want(self, candidate: Candidate) -> Want:
        job = candidate.waiting.job
        others, above_mb = self._fleet.wishes_of(candidate.waiting)
        requirement = job.spec.requirement
        return Want(
            job.id,
            job.attempt,
            requirement.min_vram_mb or 0,
            requirement.gpus or 0,
            tuple({*requirement.exclude_workers, *others, *candidate.behind, *self._fleet.outdated}),
            above_mb,
        )

    def _note(self, left_over: Sequence[tuple[WaitingJob, Want]]) -> set[str]:
        """Note why those wait that wait for other reasons than their class; returns the classes of the others."""
        others: set[str] = set()
        for left, want in left_over:
            if not self._is_picky(left, want):
                others.add(left.class_name)
            elif len(self._own) < TOLD:
                needs, workers = left.job.spec.requirement, self._fleet.workers.values()
                self._own[left.job.id] = why_waiting(needs, self._fleet.groups, workers, want.above_mb)
        return others

    def _is_picky(self, left: WaitingJob, want: Want) -> bool:
        """Whether it may not go where others of its class may."""
        avoids = left.job.spec.requirement.exclude_workers or set(left.failed_on) & set(want.excluded)
        return bool(avoids or want.above_mb or not self._fits_somebody(left))

    def _fits_somebody(self, left: WaitingJob) -> bool:
        """Jobs of one class differ in their memory: a worker may be large enough for some of them alone."""
        key = (left.class_name, left.job.spec.requirement.min_vram_mb or 0)
        if key not in self._fits:
            self._fits[key] = not key[1] or self._fleet.anybody_fits(left.job.spec.requirement)
        return self._fits[key]


def _first_of_each(ordered: Iterable[WaitingJob], classes: Collection[str]) -> list[WaitingJob]:
    firsts: dict[str, WaitingJob] = {}
    for head in ordered:
        if head.class_name in classes:
            firsts.setdefault(head.class_name, head)
    return list(firsts.values())


def _longer(heads: Iterable[WaitingJob], each: int) -> set[str]:
    """The classes with a queue of which perhaps not all was looked at."""
    seen = Counter((head.class_name, queue_of(head)) for head in heads)
    return {name for (name, _), number in seen.items() if number == each}
