"""Rebalance: nothing stays behind a busy slot while another one that fits is free.

Jobs stand behind slots where a queue depth is set, or was, and where slots have become fewer. Attempts that their own
worker is about to start stay: those that a slot has popped, and at the head of its queue one for each of its slots.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.revoke import Failover
from app.coordinator.budget import LOOK_S, Budget
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.ledger import open_attempts
from app.ledger.open_attempts import OpenAttempt
from app.pool.capacity import Room, capacity_refusal, need, room, slots
from app.pool.keys import envelope_id
from app.pool.matching import refusal
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Lease

MOVED = "a slot is free elsewhere"
APART_S = 10.0  # between two moves of one job for the sake of one worker

AttemptsByWorker = Mapping[WorkerId, list[OpenAttempt]]


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
        # When a job was moved for the sake of a worker: one that was not given it then will not be given it now.
        self._moved: dict[tuple[JobId, WorkerId], float] = {}

    def step(self, kept: Callable[[], Collection[WorkerId]]) -> bool:
        """Take back what could start elsewhere now; True when there was anything.

        kept: the workers that are kept for large jobs, on which nothing could. Raises Unavailable or RedisError, and
        may be repeated.
        """
        queued = open_attempts.slots_queued(self._stores.ledger)
        crowded = [worker for worker, used in queued.items() if used > self._slots(worker)]
        if not crowded:
            return False
        budget = Budget(self._now, LOOK_S)
        attempts = open_attempts.held_by_worker(self._stores.ledger)
        free = self._free(attempts, kept())
        self._moved = {key: at for key, at in self._moved.items() if key[1] in free and budget.began < at + APART_S}
        took_back = False
        for attempt in self._behind(crowded, attempts) if free else ():
            if budget.is_spent:
                break
            worker = self._find(attempt, free)
            if worker and self._failover.take_back(attempt, MOVED):
                self._moved[attempt.job, worker] = budget.began
                took_back = True
        return took_back

    def _slots(self, worker_id: WorkerId) -> float:
        """How many slots it has; infinitely many where it is unknown or silent: recovery decides of what is there."""
        worker, beat = self._fleet.workers.get(worker_id), self._fleet.beats.get(worker_id)
        return slots(worker, beat) if worker and beat else float("inf")

    def _behind(self, crowded: Collection[WorkerId], attempts: AttemptsByWorker) -> list[OpenAttempt]:
        """The attempts for which their workers have no slot, oldest first."""
        queues = self._envelopes.waiting(crowded)
        behind = [each for id_ in crowded for each in self._behind_on(id_, attempts.get(id_, []), queues[id_])]
        return sorted(behind, key=lambda attempt: -attempt.age_s)

    def _behind_on(self, worker: WorkerId, attempts: list[OpenAttempt], queue: list[str]) -> Iterator[OpenAttempt]:
        """The attempts of one worker without a slot, as they stand in its queue."""
        by_envelope = {envelope_id(worker, each.job, each.attempt): each for each in attempts}
        queued = [by_envelope[name] for name in queue if name in by_envelope]
        used = sum(each.reserved.slots for each in attempts) - sum(each.reserved.slots for each in queued)
        for attempt in queued:
            used += attempt.reserved.slots
            if used > self._slots(worker):
                yield attempt

    def _free(self, attempts: AttemptsByWorker, kept: Collection[WorkerId]) -> dict[WorkerId, Room]:
        """The rooms of the workers that have a free slot."""
        used = {id_: sum(each.reserved.slots for each in members) for id_, members in attempts.items()}
        schedulable = [worker.id for worker in self._fleet.schedulable() if worker.id not in kept]
        free = [id_ for id_ in schedulable if used.get(id_, 0) < self._slots(id_)]
        leases = self._stores.live.leases_of(free)
        return {id_: self._room(id_, leases[id_]) for id_ in free}

    def _room(self, worker: WorkerId, leases: Mapping[JobId, Lease]) -> Room:
        """The worker's room without the places behind its slots."""
        has = room(self._fleet.workers[worker], self._fleet.beats[worker], leases, self._fleet.policy)
        return replace(has, capacity=has.slots)

    def _find(self, attempt: OpenAttempt, free: dict[WorkerId, Room]) -> WorkerId | None:
        """A worker among these that has room for the attempt, which takes it there; None where there is none."""
        requirement, avoided = self._fleet.soft_constraints(attempt.requirement, attempt.failed_on)
        for id_, has in free.items():
            if id_ in (attempt.worker, *avoided) or (attempt.job, id_) in self._moved:
                continue
            worker = self._fleet.workers[id_]
            needs = need(worker, requirement)
            if refusal(worker, requirement) or capacity_refusal(has, needs):
                continue
            if needs.cards or needs.least_mb:
                del free[id_]  # which cards are left is known when it has been placed
            else:
                free[id_] = replace(has, held=has.held + needs.slots)
            return id_
        return None
