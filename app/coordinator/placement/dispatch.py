"""Dispatch: which of the waiting jobs come next, and where each of them is placed.

Classes that nobody has room for cost a look at an empty set; of the others the heads are put in order,
placed by the scripts in one round trip, and assigned (assign.py). What is left over says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import groupby

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.fleet import Fleet
from app.coordinator.placement.assign import Assigning, Placed
from app.coordinator.placement.backfill import Keep, Kept
from app.coordinator.placement.fairness import Queue, ends, in_order, queue_of
from app.coordinator.placement.index import Eligible
from app.coordinator.placement.place import Run, Want
from app.coordinator.placement.reasons import why_waiting_in
from app.coordinator.placement.unplaced import Candidate, LeftOver
from app.coordinator.placement.unschedulable import Parked
from app.coordinator.stores import Stores
from app.ledger import waiting
from app.ledger.waiting import WaitingClass, WaitingJob
from app.pool.faults import point
from app.pool.model import JobId, WorkerId

PORTION = 256  # jobs that are placed in one round trip, and assigned in one statement
HEADS, MORE, MOST_HEADS = 1, 8, 512  # of each queue: a first look, and the next ones where that was not all
LONGEST_S = 1.0  # then reports and health have their turn
SERVED_S = 3600.0  # what a queue was given so long ago says nothing of its turn any more


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
        self.kept = Kept(stores, fleet, now)
        self._missed: set[str] = set()  # had room for the least of their jobs, but not for all
        self._began = now()
        self._why_waiting = partial(why_waiting_in, fleet)
        self._wishes = cache(fleet.wishes_of)
        self._served: dict[Queue, float] = {}  # when a queue was given something; before a restart is as never
        self._full: set[str] = set()  # of this step: classes that nobody has room for
        self._ordered = False  # whether in this step anything was put in order, and workers kept
        self._told = True  # whether any had such a reason after the last step; of an older leader's nothing is known

    def step(self, sweep: bool) -> bool:
        """Place what can be placed now; note why the rest waits.

        `sweep`: what has changed without dispatch is looked at too. True when a worker proved to be other than we knew.
        """
        until = self._now() + LONGEST_S
        self._wishes = cache(self._fleet.wishes_of)  # of many jobs that failed alike the fleet is asked once
        classes = {each.name: each for each in waiting.classes(self._ledger)}
        open_classes = self._have_room(classes, classes)
        self._full, self._ordered = classes.keys() - open_classes, False
        left_over, because = LeftOver(self._why_waiting, self._now), dict[str, str]()
        each = HEADS
        while open_classes:
            heads = waiting.heads(self._ledger, open_classes, each, left_over.no_room(open_classes))
            last = ends(heads, each)
            # At last the others of long queues whose first find no room are not waited for.
            candidates, others = self._candidates(heads, last if each < MOST_HEADS else (), left_over.classes)
            given, wanted = self._give(candidates, left_over)
            if given < wanted:
                return True
            because |= self.kept.why([classes[name] for name in left_over.classes - because.keys()])
            if self._now() > until or (each == MOST_HEADS and not given):
                break
            further = others | {head.class_name for head in heads if head.job.id in last}
            open_classes = self._have_room(classes, further) if given else further
            self._full |= others - open_classes
            each = min(MOST_HEADS, each * MORE)
        self._missed = left_over.classes
        self._note(classes, left_over, left_over.of_whole_classes() | because, sweep)
        return False

    def kept_workers(self) -> frozenset[WorkerId]:
        """Those that are kept for large jobs, for who looks for places beside us."""
        if not self._ordered:
            self._candidates((), (), ())
        return self.kept.workers()

    def _note(
        self, classes: Mapping[str, WaitingClass], left_over: LeftOver, because: Mapping[str, str], sweep: bool
    ) -> None:
        self._parked.step(classes, self._full | left_over.classes | because.keys(), because)
        own = self._parked.own() | left_over.own
        if own or self._told or sweep:
            waiting.note_jobs(self._ledger, own)
        self._told = bool(own)
        if sweep:
            now = self._now()
            self._served = {queue: at for queue, at in self._served.items() if now < at + SERVED_S}

    def _have_room(self, classes: Mapping[str, WaitingClass], names: Iterable[str]) -> set[str]:
        return self._eligible.has_room({name: classes[name].requirement for name in names})

    def _give(self, candidates: Sequence[Candidate], left_over: LeftOver) -> tuple[int, int]:
        """How many of these were assigned, and how many were to be; notes those that found no room.

        In portions: most often few slots are free, and who waits are many.
        """
        given = wanted = 0
        for first in range(0, len(candidates), PORTION):
            some = candidates[first : first + PORTION]
            placed, others = self._place([each for each in some if not left_over.is_known(each.wish)])
            moved = self._assigning.assign(placed)
            self._served |= {queue_of(each.waiting): self._now() for each in moved}
            for each in others:
                left_over.note(each, each.want.job in self._eligible.unsure)
            given, wanted = given + len(moved), wanted + len(placed)
        return given, wanted

    def _candidates(
        self, heads: Sequence[WaitingJob], last: Collection[JobId], missed: Collection[str]
    ) -> tuple[list[Candidate], set[str]]:
        """Those whose turn it is, in their order, and the classes of the others.

        last: of the heads, those behind which their queue may go on. missed: classes that have found no room in this
        step. Jobs that need much at once keep a worker from those behind them.
        """
        self._ordered, full = True, self._full.union(missed)
        large = waiting.heads(self._ledger, full & self._parked.large, 1, self._parked.too_large())
        asked = {head.job.id for head in heads}
        everyone = [*heads, *(each for each in large if each.job.id not in asked)]
        owners = {head.job.spec.owner for head in everyone}
        held = waiting.slots_in_use(self._ledger) if len(owners) > 1 else {}
        ordered, sure = in_order(everyone, held, self._fleet.slots_of, self._unserved_s, last)
        self.kept.choose(self._first_of_each(ordered, full | (self._missed & self._parked.large)))
        found, behind = [], list[Keep]()
        for head in ordered[:sure]:
            if head.job.id in asked:
                found.append(self._candidate(head, behind))
            if keep := self.kept.of(head.job.id):
                behind.append(keep)
        return found, {head.class_name for head in ordered[sure:] if head.job.id in asked}

    def _first_of_each(self, ordered: Iterable[WaitingJob], classes: Collection[str]) -> list[WaitingJob]:
        firsts: dict[str, WaitingJob] = {}
        for head in ordered:
            if head.class_name in classes and not self._parked.is_too_large(head):
                firsts.setdefault(head.class_name, head)
        return list(firsts.values())

    def _unserved_s(self, queue: Queue) -> float:
        return self._now() - self._served.get(queue, self._began)

    def _candidate(self, head: WaitingJob, behind: Iterable[Keep]) -> Candidate:
        job, requirement = head.job, head.job.spec.requirement
        kept = self.kept.from_next(behind, requirement)
        avoided, above_mb = self._wishes(requirement, head.failed_on, head.above_mb)
        want = Want(
            job.id,
            job.attempt,
            requirement.min_vram_mb or 0,
            requirement.gpus or 0,
            tuple({*requirement.exclude_workers, *avoided, *kept, *self._fleet.outdated}),
            above_mb,
        )
        return Candidate(head, avoided, want)

    def _place(self, candidates: Sequence[Candidate]) -> tuple[list[Placed], list[Candidate]]:
        placed: list[Placed] = []
        strange: list[Placed] = []  # on workers that have gone since the sets were written
        others: list[Candidate] = []
        parts = [list(some) for _, some in groupby(candidates, lambda each: each.waiting.class_name)]
        firsts = [some[0].waiting for some in parts]
        runs = [
            Run(first.class_name, first.job.spec.requirement, tuple(each.want for each in some))
            for first, some in zip(firsts, parts, strict=True)
        ]
        for some, places in zip(parts, self._eligible.place(runs), strict=True):
            for each, place in zip(some, places, strict=True):
                worker = self._fleet.workers.get(place.worker) if place else None
                if place and worker:
                    placed.append(Placed(each.waiting, place, worker.incarnation, worker.revision))
                elif place:
                    strange.append(Placed(each.waiting, place, 0, 0))
                else:
                    others.append(each)
        self._assigning.give_back(strange)
        point("dispatch.placed")
        return placed, others
