"""Remainders: leases, listed attempts and envelopes that no open attempt of the ledger explains.

Such a lease is revoked, and goes when a beat newer than the first look at it omits its attempt: until then
a process may be left. An envelope that no slot has popped goes at once; one that was popped is left to its
slot, whose claim is refused.
"""

from __future__ import annotations

from collections.abc import Callable

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Batch
from app.coordinator.fleet import Fleet
from app.coordinator.health.failure_detector import takes_nothing
from app.coordinator.recovery.snapshot import AttemptKey, Snapshot, moved_on, refs
from app.pool.model import Health, JobId, WorkerId
from app.pool.protocol import Lease, LeaseState, Revocation

SETTLED = frozenset({LeaseState.REVOKED, LeaseState.ENDED})
POPPED_S = 10.0  # a slot that lives has long taken what it popped off the list

BeatOrder = tuple[int, int]  # incarnation and seq of a beat


class Remainders:
    """Remembers since which beat each lease is settled, and since when each popped envelope lies there."""

    def __init__(self, fleet: Fleet, envelopes: Envelopes, now: Callable[[], float]) -> None:
        self._fleet = fleet
        self._envelopes = envelopes
        self._now = now
        self._settled: dict[AttemptKey, BeatOrder] = {}
        self._popped: dict[str, float] = {}

    def step(self, snapshot: Snapshot, batch: Batch) -> list[AttemptKey]:
        """Look at each worker of the snapshot; lease changes go into the batch.

        Returns the leases that wait for a newer beat. Raises RedisError.
        """
        settled: dict[AttemptKey, BeatOrder] = {}
        popped: dict[str, float] = {}
        for worker, leases in snapshot.leases.items():
            for job, lease in leases.items():
                self._lease(worker, job, lease, snapshot, batch, settled)
            self._listed(worker, snapshot, batch)
            self._queued(worker, snapshot, popped)
        self._settled, self._popped = settled, popped
        return list(settled)

    def _lease(
        self,
        worker: WorkerId,
        job: JobId,
        lease: Lease,
        snapshot: Snapshot,
        batch: Batch,
        settled: dict[AttemptKey, BeatOrder],
    ) -> None:
        """Revoke a lease that the ledger does not know; let a settled one go after a newer beat or its incarnation."""
        if (job, lease.attempt) in snapshot.keys(worker):
            return
        key = (worker, job, lease.attempt)
        present = self._fleet.workers[worker]
        beat = self._fleet.beats.get(worker)
        newest = (beat.incarnation, beat.seq) if beat else (present.incarnation, 0)
        since = self._settled.get(key, newest)
        listed = beat is not None and (job, lease.attempt) in refs(beat)
        gone = present.health is Health.LEFT or (lease.incarnation or present.incarnation) < present.incarnation
        if not listed and (gone or (newest > since and lease.state in SETTLED)):
            batch.released(worker, job, lease.attempt)
            return
        settled[key] = since
        if lease.state not in SETTLED:
            batch.revoked(worker, job, lease.attempt, Revocation.TAKEN)

    def _listed(self, worker: WorkerId, snapshot: Snapshot, batch: Batch) -> None:
        """Revoke what a worker has that the ledger does not hold as its own."""
        beat = self._fleet.beats.get(worker)
        for job, attempt in (refs(beat) - snapshot.keys(worker)) if beat else ():
            lease = snapshot.leases.get(worker, {}).get(job)
            if lease is None or (lease.attempt <= attempt and lease.state not in SETTLED):
                batch.revoked(worker, job, attempt, Revocation.TAKEN)

    def _queued(self, worker: WorkerId, snapshot: Snapshot, popped: dict[str, float]) -> None:
        """Remove envelopes of attempts that have moved on.

        One that was popped lies there when its slot has died: until no slot of its worker can be at work with it, or
        for POPPED_S. A slot that was frozen all the while finds its job gone, or is refused.
        """
        queued, held = snapshot.queued(worker), snapshot.keys(worker)
        if not takes_nothing(self._fleet.workers[worker]):  # else it lies there until it is taken
            for name in moved_on(queued.waiting, held):
                self._envelopes.remove_id(worker, name)
        beat = self._fleet.beats.get(worker)
        idle = beat is not None and beat.free_slots == beat.slots
        for name in moved_on(queued.popped, held):
            since = self._popped.get(name, self._now())
            if idle or self._fleet.workers[worker].health is Health.LEFT or self._now() >= since + POPPED_S:
                self._envelopes.forget_popped(worker, name)
            else:
                popped[name] = since
