"""Nothing stays behind a busy slot while another one that fits is free.

Jobs stand there where a queue depth is set, or was, and where slots have become fewer. An attempt that its own
worker is about to start is left alone: what a slot has popped, and the next ones in the worker's queue, as many as it
has slots for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.revoke import Failover
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger import jobs
from app.ledger.jobs import OpenAttempt
from app.pool.capacity import Room, capacity_refusal, need, room, slots
from app.pool.keys import envelope_id
from app.pool.matching import refusal
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Lease

MOVED = "a slot is free elsewhere"
APART_S = 10.0  # between two moves of one job for the sake of one worker
LONGEST_S = 0.05  # of looking for places

Held = Mapping[WorkerId, list[OpenAttempt]]


class Rebalance:
    """Takes back what stands behind a slot, for dispatch to place it where one is free."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        failover: Failover,
        envelopes: Envelopes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._fleet = fleet
        self._failover = failover
        self._envelopes = envelopes
        self._now = now
        # For whom a job was moved, and when: who is free all the time and is not given it will not be given it.
        self._moved: dict[tuple[JobId, WorkerId], float] = {}

    def step(self, kept: Callable[[], Collection[WorkerId]]) -> bool:
        """Take back what could start elsewhere now, but for workers that are kept; True when there was anything."""
        crowded = [id_ for id_, used in jobs.slots_queued(self._stores.ledger).items() if used > self._slots(id_)]
        if not crowded:
            return False
        began = self._now()
        held = jobs.held_by_worker(self._stores.ledger)
        free = self._free(held, kept())
        self._moved = {key: at for key, at in self._moved.items() if key[1] in free and began < at + APART_S}
        anything = False
        for attempt in self._behind(crowded, held) if free else ():
            if self._now() > began + LONGEST_S:
                break
            worker = self._find(attempt, free)
            if worker and self._failover.take_back(attempt, MOVED):
                self._moved[attempt.job, worker] = began
                anything = True
        return anything

    def _slots(self, worker: WorkerId) -> float:
        """How many it has; of one that is unknown or silent others decide."""
        found, beat = self._fleet.workers.get(worker), self._fleet.beats.get(worker)
        return slots(found, beat) if found and beat else float("inf")

    def _behind(self, workers: Collection[WorkerId], held: Held) -> list[OpenAttempt]:
        """Those that no slot of theirs is for, oldest first."""
        queues = self._envelopes.waiting(workers)
        found = [each for id_ in workers for each in self._behind_on(id_, held.get(id_, []), queues[id_])]
        return sorted(found, key=lambda each: -each.age_s)

    def _behind_on(self, worker: WorkerId, held: list[OpenAttempt], queue: list[str]) -> Iterator[OpenAttempt]:
        """Those of this worker, as they stand in its queue."""
        waiting = {envelope_id(worker, each.job, each.attempt): each for each in held}
        queued = [waiting[name] for name in queue if name in waiting]
        used = sum(each.reserved.slots for each in held) - sum(each.reserved.slots for each in queued)
        for each in queued:
            used += each.reserved.slots
            if used > self._slots(worker):
                yield each

    def _free(self, held: Held, kept: Collection[WorkerId]) -> dict[WorkerId, Room]:
        """The rooms of the workers that have a free slot."""
        used = {id_: sum(each.reserved.slots for each in some) for id_, some in held.items()}
        taking = [worker.id for worker in self._fleet.schedulable() if worker.id not in kept]
        ids = [id_ for id_ in taking if used.get(id_, 0) < self._slots(id_)]
        leases = self._stores.live.leases_of(ids)
        return {id_: self._room(id_, leases[id_]) for id_ in ids}

    def _room(self, worker: WorkerId, leases: Mapping[JobId, Lease]) -> Room:
        """Without the places behind its slots."""
        found = room(self._fleet.workers[worker], self._fleet.beats[worker], leases, self._fleet.policy)
        return replace(found, capacity=found.slots)

    def _find(self, attempt: OpenAttempt, free: dict[WorkerId, Room]) -> WorkerId | None:
        """One of these workers that has room for it, which it takes."""
        requirement, avoided = self._fleet.soft_constraints(attempt.requirement, attempt.failed_on)
        for id_, has in free.items():
            if id_ in (attempt.worker, *avoided) or (attempt.job, id_) in self._moved:
                continue
            worker = self._fleet.workers[id_]
            wants = need(worker, requirement)
            if refusal(worker, requirement) or capacity_refusal(has, wants):
                continue
            if wants.cards or wants.least_mb:
                del free[id_]  # which cards are left is known when it has been placed
            else:
                free[id_] = replace(has, held=has.held + wants.slots)
            return id_
        return None
