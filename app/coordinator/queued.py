"""Nothing stays behind a busy slot while another one that fits is free.

Only where a queue depth is set. An attempt that its own worker is about to start is left alone: the first ones
of a worker, as many as it has slots, are running or begin as soon as it looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from app.coordinator.failover import Failover
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger import jobs
from app.ledger.jobs import HeldAttempt
from app.pool.capacity import Room, capacity_refusal, depth, need, room, slots
from app.pool.matching import refusal
from app.pool.model import JobId, JobState, WorkerId
from app.pool.protocol import Lease

MOVED = "a slot is free elsewhere"
APART_S = 10.0  # between two moves of one job
LONGEST_S = 0.05  # of looking for places


class Queued:
    """Takes back what stands behind a slot, for dispatch to place it where one is free."""

    def __init__(
        self, stores: Stores, fleet: Fleet, failover: Failover, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stores = stores
        self._fleet = fleet
        self._failover = failover
        self._now = now
        self._moved: dict[JobId, float] = {}  # when; so that none goes back and forth

    def step(self, kept: Collection[WorkerId]) -> bool:
        """Take back what could start elsewhere now, but for workers that are kept; True when there was anything."""
        if not any(depth(worker, self._fleet.policy) for worker in self._fleet.workers.values()):
            return False
        now = self._now()
        self._moved = {job: at for job, at in self._moved.items() if now < at + APART_S}
        held: dict[WorkerId, list[HeldAttempt]] = {}
        for each in jobs.held(self._stores.ledger):
            held.setdefault(each.worker, []).append(each)
        behind = [each for some in held.values() for each in self._behind(some) if each.job not in self._moved]
        free = self._free(held, kept) if behind else {}
        anything = False
        for attempt in sorted(behind, key=lambda each: -each.age_s):
            if self._now() > now + LONGEST_S:
                break
            if self._find(attempt, free):
                self._failover.take(attempt, MOVED)
                self._moved[attempt.job] = now
                anything = True
        return anything

    def _behind(self, held: Iterable[HeldAttempt]) -> Iterable[HeldAttempt]:
        """Those of one worker's that none of its slots is for, as they came."""
        used = 0
        for each in sorted(held, key=lambda one: (one.state is JobState.ASSIGNED, -one.age_s)):
            used += each.reserved.slots
            worker, beat = self._fleet.workers.get(each.worker), self._fleet.beats.get(each.worker)
            if worker and beat and each.state is JobState.ASSIGNED and used > slots(worker, beat):
                yield each

    def _free(self, held: Mapping[WorkerId, list[HeldAttempt]], kept: Collection[WorkerId]) -> dict[WorkerId, Room]:
        """The rooms of the workers that have a free slot."""
        ids = [
            worker.id
            for worker in self._fleet.taking()
            if worker.id not in kept
            and sum(each.reserved.slots for each in held.get(worker.id, ()))
            < slots(worker, self._fleet.beats[worker.id])
        ]
        leases = self._stores.live.leases_of(ids)
        return {id_: self._room(id_, leases[id_]) for id_ in ids}

    def _room(self, worker: WorkerId, leases: Mapping[JobId, Lease]) -> Room:
        """Without the places behind its slots."""
        found = room(self._fleet.workers[worker], self._fleet.beats[worker], leases, self._fleet.policy)
        return replace(found, capacity=found.slots)

    def _find(self, attempt: HeldAttempt, free: dict[WorkerId, Room]) -> bool:
        """Whether one of these workers has room for it, which it takes."""
        for id_, has in free.items():
            worker = self._fleet.workers[id_]
            wants = need(worker, attempt.requirement)
            if (
                id_ in (attempt.worker, *attempt.failed_on)
                or refusal(worker, attempt.requirement)
                or capacity_refusal(has, wants)
            ):
                continue
            if wants.cards or wants.least_mb:
                del free[id_]  # which cards are left is known when it has been placed
            else:
                free[id_] = replace(has, held=has.held + wants.slots)
            return True
        return False
