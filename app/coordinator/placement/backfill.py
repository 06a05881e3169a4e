"""Backfill: a worker is kept for a job that needs much of it at once; else small jobs would take its room for ever.

The first job of a class that finds room nowhere, though some worker could hold it if that were empty, has one reserved
for it (Slurm calls this a backfill reservation): jobs that come after it in the order are not placed there. In the
leader's memory only; the next leader chooses anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.coordinator.budget import LOOK_S, Budget
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger.waiting import WaitingClass
from app.pool.capacity import Need, Room, capacity_refusal, emptied, need, room
from app.pool.matching import refusal
from app.pool.model import JobId, Requirement, WaitingFor, WaitingReason, WorkerId
from app.pool.status import FREE_SLOT

MOST_KEPT = 8
LOOK_AT = 16  # of the workers that could hold the job, those that run the least


@dataclass(frozen=True)
class KeptWorker:
    """A worker that is kept for a job."""

    job: JobId
    class_name: str
    worker: WorkerId
    spare_slots: int  # free ones beyond those that the job needs: for jobs that take no card


class Backfill:
    """Which worker is kept for which job."""

    def __init__(self, stores: Stores, fleet: Fleet, now: Callable[[], float]) -> None:
        self._live = stores.live
        self._fleet = fleet
        self._now = now
        self._kept: dict[JobId, KeptWorker] = {}
        self._lent: Counter[WorkerId] = Counter()  # spare slots granted to later jobs in this look

    def choose(self, jobs: Iterable[tuple[JobId, WaitingClass]]) -> None:
        """Keep a worker for each of these jobs, in this order, where that helps; for no others.

        Each job comes with what its class demands now. Raises RedisError, and may be repeated.
        """
        before, self._kept = self._kept, {}
        self._lent.clear()
        budget = Budget(self._now, LOOK_S)
        for job, demand in jobs:
            if len(self._kept) == MOST_KEPT:
                return
            known = before.get(job)
            if not budget.is_spent:
                kept = self._choose(job, demand, known)
            else:  # as it was, for those that there is no time for
                kept = known if known and known.worker in self._fleet.workers else None
            if kept:
                self._kept[job] = kept

    def kept_for(self, job: JobId) -> KeptWorker | None:
        """The worker that is kept for this job."""
        return self._kept.get(job)

    def barred_from_next(self, ahead: Iterable[KeptWorker], requirement: Requirement) -> frozenset[WorkerId]:
        """The workers kept for jobs ahead that the next job, with this requirement, may not be given.

        Counts the slots that the job may take of the others.
        """
        needs = {kept: need(self._fleet.workers[kept.worker], requirement) for kept in ahead}
        barred = {kept for kept, its in needs.items() if not self._can_spare(kept, its)}
        self._lent.update({kept.worker: its.slots for kept, its in needs.items() if kept not in barred})
        return frozenset(kept.worker for kept in barred)

    def workers(self) -> frozenset[WorkerId]:
        """All workers that are kept."""
        return frozenset(kept.worker for kept in self._kept.values())

    def reasons(self, classes: Iterable[WaitingClass]) -> dict[str, WaitingReason]:
        """Why classes found no room, by name, that could run on a worker which is kept from them."""
        kept_from = {each.name: self._kept_from(each) for each in classes} if self._kept else {}
        return {name: self._reason(kept) for name, kept in kept_from.items() if kept}

    def _reason(self, kept: KeptWorker) -> WaitingReason:
        name = self._fleet.workers[kept.worker].name
        words = f"{FREE_SLOT}: {name} is kept for job {kept.job}, which comes first and needs more"
        return WaitingReason(WaitingFor.SLOT, words)

    def _kept_from(self, waiting: WaitingClass) -> KeptWorker | None:
        for kept in self._kept.values():
            if kept.class_name == waiting.name:
                continue  # else a job would be told that the worker kept for it is kept from it
            worker = self._fleet.workers[kept.worker]
            if worker.id in waiting.failed_on or refusal(worker, waiting.requirement) is not None:
                continue
            if not self._can_spare(kept, need(worker, waiting.requirement)):
                return kept
        return None

    def _can_spare(self, kept: KeptWorker, needs: Need) -> bool:
        left = kept.spare_slots - self._lent[kept.worker]
        return not (needs.cards or needs.least_mb) and needs.slots <= left

    def _choose(self, job: JobId, demand: WaitingClass, before: KeptWorker | None) -> KeptWorker | None:
        known = before and before.worker
        candidates = self._fleet.healthy_fitting(demand.requirement, (*demand.avoided, *self.workers()))
        fitting = {worker.id: worker for worker in candidates}
        # The one that is kept comes first while it is still worth it: on another the wait would begin anew.
        by_use = sorted(fitting, key=lambda id_: (id_ != known, len(self._fleet.beats[id_].attempts), id_))[:LOOK_AT]
        leases = self._live.leases_of(by_use)
        could = []
        for id_ in by_use:
            worker = fitting[id_]
            has = room(worker, self._fleet.beats[id_], leases[id_], self._fleet.policy)
            needs = need(worker, demand.requirement)
            if _is_nibbled(has, needs) and capacity_refusal(emptied(has), needs) is None:
                could.append((id_ != known, has.held, id_, has.slots - has.held - needs.slots))
        if not could:
            return None
        *_, chosen, spare_slots = min(could)
        return KeptWorker(job, demand.name, chosen, spare_slots)


def _is_nibbled(has: Room, needs: Need) -> bool:
    """Whether small jobs could take of the worker what this one waits for.

    It has no room for this one, but a slot for theirs or a place behind one; or this one needs several slots, which
    small ones take one by one as they become free.
    """
    return capacity_refusal(has, needs) is not None and (needs.slots > 1 or has.held < has.capacity)
