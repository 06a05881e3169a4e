"""Reconcile: whatever ledger, leases, envelopes and beats disagree on, put right from scratch.

When a leader begins, on a new generation, and every few seconds; reports are applied first. The
ledger is right, a worker's beat says what runs. Nothing is concluded from one look: an attempt is
missing when two beats begun after the first look omit it, a lease may go after a newer beat.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Batch, Leases
from app.coordinator.attempts.revoke import Failover
from app.coordinator.batches import Batches
from app.coordinator.fleet import LIVE, Fleet
from app.coordinator.health import incident
from app.coordinator.health.failure_detector import takes_nothing
from app.coordinator.health.verdicts import HealthMonitor
from app.coordinator.recovery.snapshot import Snapshot, moved_on, refs
from app.coordinator.recovery.stuck_slots import StuckSlots
from app.coordinator.stores import Stores
from app.ledger import jobs, waiting
from app.ledger.jobs import OpenAttempt
from app.pool.keys import envelope_id
from app.pool.matching import refusal
from app.pool.model import Health, Intent, JobId, JobState, Worker, WorkerId
from app.pool.protocol import Lease, LeaseState, Revocation
from app.pool.status import STANDING, down_words, worker_status

log = logging.getLogger(__name__)

AttemptKey = tuple[WorkerId, JobId, int]
SETTLED = frozenset({LeaseState.REVOKED, LeaseState.ENDED})
BEATS_APART_S = 1.0
GONE = "its worker left"
ANEW = "its worker joined anew"
BARRED = "waits until the strict job that it repeats has no process left"
OVERDUE_S = 120.0  # beyond its timeout: its worker should have ended it long ago
POPPED_S = 10.0  # a slot that lives has long taken what it popped off the list
LOST = "lost: in no queue, and its worker does not have it"


@dataclass(frozen=True)
class Omission:
    """Since when a worker's beats omit an attempt: the beat at the first look, and the first one begun after it."""

    seq: int
    first: int | None = None
    first_at: float = 0.0


class Reconcile:
    """Remembers only what it waits to see twice; a new leader waits anew."""

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
        turns: Batches,
    ) -> None:
        self._stores = stores
        self._fleet = fleet
        self._failover = failover
        self._health = health
        self._leases = leases
        self._envelopes = envelopes
        self._now = now
        self._turns = turns
        self._busy: set[WorkerId] = set()  # had leases or envelopes at the last look at them
        self._omitted: dict[AttemptKey, Omission] = {}
        self._settled: dict[AttemptKey, tuple[int, int]] = {}
        self._popped: dict[str, float] = {}  # envelopes whose attempts have moved on: since when
        self._stuck_slots = StuckSlots(fleet, health, now)

    def step(self) -> bool:
        """Put right what can be; True when it waits for a newer beat and should be called again soon."""
        snapshot = self._look()
        omitted: dict[AttemptKey, Omission] = {}
        settled: dict[AttemptKey, tuple[int, int]] = {}
        popped: dict[str, float] = {}
        batch = self._leases.batch()
        for held in [each for some in snapshot.held.values() for each in some]:
            self._attempt(held, snapshot, batch, omitted)
        soon = self._stuck_slots.step(snapshot.held, snapshot.envelopes)
        for worker, leases in snapshot.leases.items():
            for job, lease in leases.items():
                self._lease(worker, job, lease, snapshot, batch, settled)
            self._beaten(worker, snapshot, batch)
            self._leftovers(worker, snapshot, popped)
        self._omitted, self._settled, self._popped = omitted, settled, popped
        waits = [*omitted, *(key for key in settled if self._holds_slot(key, snapshot))]
        for worker, _, _ in waits:
            batch.ring(worker)
        batch.send()
        waiting.note_barred(self._stores.ledger, BARRED)
        return bool(waits) or soon

    def cancelled(self, job: JobId) -> None:
        """A bell said that this job was cancelled: end it where it is, now."""
        found = jobs.find(self._stores.ledger, job)
        if found is None or found.state is not JobState.CANCELLED or found.worker is None:
            return
        running = [held for held in jobs.held(self._stores.ledger, found.worker) if held.job == job]
        for held in running:
            self._failover.cancelled(held, self._fleet.policy.cancel_grace_s)
        if not running:
            self._failover.withdraw(found.worker, job, found.attempt)

    def _holds_slot(self, key: AttemptKey, snapshot: Snapshot) -> bool:
        live = self._fleet.workers[key[0]].health in LIVE
        return live and snapshot.leases[key[0]][key[1]].state is not LeaseState.ENDED

    def _look(self) -> Snapshot:
        """Of all workers that have something to compare, and of the quiet ones whose turn it is."""
        held = jobs.held_by_worker(self._stores.ledger)
        touched = set(self._leases.touched)
        some = (held.keys() | touched | self._busy | self._lively()) & self._fleet.workers.keys()
        looked_at = [*some, *(worker for worker in self._turns.next(self._fleet.workers) if worker not in some)]
        snapshot = Snapshot(held, self._stores.live.leases_of(looked_at), self._envelopes.queued(looked_at))
        self._leases.touched -= touched
        self._busy = {worker for worker in looked_at if snapshot.has_any(worker)}
        return snapshot

    def _lively(self) -> set[WorkerId]:
        """Those whose beat lists attempts, and those that have yet to show that they take."""
        listing = {worker for worker, beat in self._fleet.beats.items() if beat.attempts}
        return listing | {worker.id for worker in self._fleet.workers.values() if takes_nothing(worker)}

    def _attempt(
        self, held: OpenAttempt, snapshot: Snapshot, batch: Batch, omitted: dict[AttemptKey, Omission]
    ) -> None:
        worker = self._fleet.workers.get(held.worker)
        if worker is None or held.incarnation > worker.incarnation:
            return  # it has just joined: the next look knows it
        if held.incarnation < worker.incarnation:
            self._replaced(worker, held)
        elif worker.health is Health.LEFT:
            self._failover.take_gone(held, GONE)
        elif worker.health is Health.DOWN:
            self._failover.take_from_down([held], down_words(worker))
        elif held.state is JobState.RUNNING and held.timeout_s and held.age_s > held.timeout_s + OVERDUE_S:
            self._failover.overdue(held)
        elif held.state is JobState.ASSIGNED and (why := self._may_not_start(worker, held)):
            self._failover.take(held, why)
        elif self._listed(held) or self._lies(held, snapshot):
            self._remind(held, snapshot, batch)
        else:
            self._missing(held, omitted)

    def _replaced(self, worker: Worker, held: OpenAttempt) -> None:
        """Its worker died and joined anew, perhaps before anybody saw it silent."""
        taken = self._failover.take_gone(held, ANEW, died=True)
        if any(each.was is JobState.RUNNING for each in taken):
            silence_s = self._fleet.silence_s.get(worker.id, 0.0)
            with self._stores.ledger.transaction() as tx:
                incident.begin(tx, worker, None, ANEW, silence_s, proven=True, reached=False)

    def _may_not_start(self, worker: Worker, held: OpenAttempt) -> str | None:
        """Why its worker is not to begin it: it takes nothing new, or people have set it or the job up anew."""
        beat = self._fleet.beats.get(worker.id)
        if beat is not None and beat.leaving:
            return "its worker leaves"
        if worker.health is not Health.HEALTHY or worker.intent is not Intent.ACTIVE:
            return f"its worker takes no new jobs: it {STANDING[worker_status(worker)][0]}"
        refused = refusal(worker, held.requirement)
        return f"its worker does not fit any more ({refused.filter}): {refused.why}" if refused else None

    def _listed(self, held: OpenAttempt) -> bool:
        beat = self._fleet.beats.get(held.worker)
        return beat is None or (held.job, held.attempt) in refs(beat)  # no beat: health decides, not we

    def _lies(self, held: OpenAttempt, snapshot: Snapshot) -> bool:
        name = envelope_id(held.worker, held.job, held.attempt)
        return held.state is JobState.ASSIGNED and name in snapshot.queued(held.worker).waiting

    def _remind(self, held: OpenAttempt, snapshot: Snapshot, batch: Batch) -> None:
        """Write the lease where Redis forgot it or a leader died before marking it."""
        lease = snapshot.leases.get(held.worker, {}).get(held.job)
        present = lease.state if lease is not None and lease.attempt == held.attempt else None
        if held.state is JobState.CANCELLED:
            if present is not LeaseState.REVOKED:
                self._failover.cancelled(held, self._fleet.policy.cancel_grace_s)
        elif held.state is JobState.RUNNING and present in (None, LeaseState.GIVEN):
            batch.claimed(held.worker, held.job, held.attempt, held.nonce, held.reserved)
        elif present is None:
            batch.given(held.worker, held.job, held.attempt, held.reserved)

    def _missing(self, held: OpenAttempt, omitted: dict[AttemptKey, Omission]) -> None:
        """Two beats, both begun after the first look and a second apart, have omitted it: it is lost.

        The beat after the first look's may have been under way at that look, so it does not count.
        """
        key = (held.worker, held.job, held.attempt)
        beat = self._fleet.beats[held.worker]
        seen = self._omitted.get(key, Omission(beat.seq))
        if seen.first is None and beat.seq >= seen.seq + 2:
            seen = Omission(seen.seq, beat.seq, self._now())
        elif seen.first is not None and beat.seq > seen.first and self._now() - seen.first_at >= BEATS_APART_S:
            self._failover.take_gone(held, LOST)
            return
        omitted[key] = seen

    def _lease(
        self,
        worker: WorkerId,
        job: JobId,
        lease: Lease,
        snapshot: Snapshot,
        batch: Batch,
        settled: dict[AttemptKey, tuple[int, int]],
    ) -> None:
        """A lease that the ledger does not know is revoked; one that is settled goes after a newer beat, or with
        its incarnation."""
        if (job, lease.attempt) in snapshot.keys(worker):
            return
        key = (worker, job, lease.attempt)
        present = self._fleet.workers[worker]
        beat = self._fleet.beats.get(worker)
        now = (beat.incarnation, beat.seq) if beat else (present.incarnation, 0)
        since = self._settled.get(key, now)
        listed = beat is not None and (job, lease.attempt) in refs(beat)
        gone = present.health is Health.LEFT or (lease.incarnation or present.incarnation) < present.incarnation
        if not listed and (gone or (now > since and lease.state in SETTLED)):
            batch.released(worker, job, lease.attempt)
            return
        settled[key] = since
        if lease.state not in SETTLED:
            batch.revoked(worker, job, lease.attempt, Revocation.TAKEN)

    def _beaten(self, worker: WorkerId, snapshot: Snapshot, batch: Batch) -> None:
        """What a worker has that the ledger does not hold as its own is revoked."""
        beat = self._fleet.beats.get(worker)
        for job, attempt in (refs(beat) - snapshot.keys(worker)) if beat else ():
            lease = snapshot.leases.get(worker, {}).get(job)
            if lease is None or (lease.attempt <= attempt and lease.state not in SETTLED):
                batch.revoked(worker, job, attempt, Revocation.TAKEN)

    def _leftovers(self, worker: WorkerId, snapshot: Snapshot, popped: dict[str, float]) -> None:
        """Envelopes of attempts that have moved on; a popped one is left to its slot, whose claim is refused.

        When its slot has died it lies there until no slot of its worker can be at work with it, or for long enough:
        one that was frozen all the while finds its job gone, or is refused.
        """
        lying, held = snapshot.queued(worker), snapshot.keys(worker)
        if not takes_nothing(self._fleet.workers[worker]):  # else it lies there until it is taken
            for name in moved_on(lying.waiting, held):
                self._envelopes.remove_id(worker, name)
        beat = self._fleet.beats.get(worker)
        idle = beat is not None and beat.free_slots == beat.slots
        for name in moved_on(lying.popped, held):
            since = self._popped.get(name, self._now())
            if idle or self._fleet.workers[worker].health is Health.LEFT or self._now() >= since + POPPED_S:
                self._envelopes.forget_popped(worker, name)
            else:
                popped[name] = since
