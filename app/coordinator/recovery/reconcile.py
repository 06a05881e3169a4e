"""Reconcile: whatever ledger, leases, envelopes and beats disagree on, put right from scratch.

It runs when a leader begins, on a new generation of Redis, and every few seconds; reports are applied first.
The ledger is right about what is to run, and a worker's beat about what does run. Nothing is concluded from
one look: an attempt is missing when two beats that began after the first look omit it, and a lease may go
after a newer beat.

Two comparisons make it: of what the ledger holds as open (recovery/open_attempts.py), and of what lies in Redis, by
worker (remainders.py). Between them stuck slots are found, which need both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.attempts.revoke import Failover
from app.coordinator.batches import Batches
from app.coordinator.fleet import LIVE, Fleet
from app.coordinator.health.failure_detector import takes_nothing
from app.coordinator.health.verdicts import HealthMonitor
from app.coordinator.recovery.open_attempts import OpenAttempts
from app.coordinator.recovery.remainders import Remainders
from app.coordinator.recovery.snapshot import AttemptKey, Snapshot
from app.coordinator.recovery.stuck_slots import StuckSlots
from app.coordinator.stores import Stores
from app.ledger import jobs, open_attempts, waiting
from app.pool.model import JobId, JobState, WaitingFor, WaitingReason, WorkerId
from app.pool.protocol import LeaseState

REPEATS_STRICT = WaitingReason(WaitingFor.WORKER, "waits until the strict job that it repeats has no process left")


@dataclass(frozen=True)
class Reconciled:
    """What came of one comparison."""

    soon: bool  # compare again soon: something waits for a newer beat, or an envelope lies too long


class Reconcile:
    """Remembers only what it waits to see twice; a new leader begins to wait again."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        failover: Failover,
        health: HealthMonitor,
        leases: Leases,
        envelopes: Envelopes,
        now: Callable[[], float] = time.monotonic,
        *,
        batches: Batches,
    ) -> None:
        self._stores = stores
        self._fleet = fleet
        self._failover = failover
        self._leases = leases
        self._envelopes = envelopes
        self._batches = batches
        self._busy: set[WorkerId] = set()  # had leases or envelopes at the last look at them
        self._open_attempts = OpenAttempts(stores, fleet, failover, health, now)
        self._stuck_slots = StuckSlots(fleet, health, now)
        self._remainders = Remainders(fleet, envelopes, now)

    def step(self) -> Reconciled:
        """Put right what can be. Raises RedisError, Unavailable; may be called again."""
        snapshot = self._look()
        batch = self._leases.batch()
        missing = self._open_attempts.step(snapshot, batch)
        lies = self._stuck_slots.step(snapshot.open, snapshot.envelopes)
        settled = self._remainders.step(snapshot, batch)
        waits = [*missing, *(key for key in settled if self._holds_slot(key, snapshot))]
        for worker, _, _ in waits:
            batch.ring(worker)
        batch.send()
        waiting.note_barred(self._stores.ledger, REPEATS_STRICT)
        return Reconciled(soon=bool(waits) or lies)

    def cancelled(self, job: JobId) -> None:
        """End a job at once where it is: a bell said that it was cancelled.

        Raises RedisError, Unavailable; may be called again.
        """
        found = jobs.find(self._stores.ledger, job)
        if found is None or found.state is not JobState.CANCELLED or found.worker is None:
            return
        running = [attempt for attempt in open_attempts.held(self._stores.ledger, found.worker) if attempt.job == job]
        for attempt in running:
            self._failover.cancelled(attempt, self._fleet.policy.cancel_grace_s)
        if not running:
            self._failover.withdraw(found.worker, job, found.attempt)

    def _look(self) -> Snapshot:
        """Look at all workers that have something to compare, and at the next batch of the quiet ones."""
        held = open_attempts.held_by_worker(self._stores.ledger)
        touched = self._leases.touched()
        lively = (held.keys() | touched | self._busy | self._lively()) & self._fleet.workers.keys()
        workers = [*lively, *(worker for worker in self._batches.next(self._fleet.workers) if worker not in lively)]
        snapshot = Snapshot(held, self._stores.live.leases_of(workers), self._envelopes.queued(workers))
        self._leases.looked_at(touched)
        self._busy = {worker for worker in workers if snapshot.has_any(worker)}
        return snapshot

    def _lively(self) -> set[WorkerId]:
        """The workers whose beat lists attempts, and those whose slots take nothing until they show otherwise."""
        listing = {worker for worker, beat in self._fleet.beats.items() if beat.attempts}
        return listing | {worker.id for worker in self._fleet.workers.values() if takes_nothing(worker)}

    def _holds_slot(self, key: AttemptKey, snapshot: Snapshot) -> bool:
        worker, job, _ = key
        live = self._fleet.workers[worker].health in LIVE
        return live and snapshot.leases[worker][job].state is not LeaseState.ENDED
