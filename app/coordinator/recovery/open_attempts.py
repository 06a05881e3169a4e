"""Attempts that the ledger holds as open, compared with their workers: each goes on, or is taken.

An attempt goes on while the incarnation that it was given to lives, and either the beat lists it or its
envelope still waits. Its lease is written again where Redis forgot it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.coordinator.attempts.leases import Batch
from app.coordinator.attempts.revoke import Failover
from app.coordinator.fleet import Fleet
from app.coordinator.health import incident
from app.coordinator.health.verdicts import HealthMonitor
from app.coordinator.recovery.snapshot import AttemptKey, Snapshot, refs
from app.coordinator.stores import Stores
from app.ledger.open_attempts import OpenAttempt
from app.pool.keys import envelope_id
from app.pool.matching import refusal
from app.pool.model import Health, Intent, JobState, Worker
from app.pool.protocol import LeaseState
from app.pool.status import STANDING, down_words, worker_status

BEATS_APART_S = 1.0
OVERDUE_S = 120.0  # beyond its timeout: its worker should have ended it long ago
GONE = "its worker left"
ANEW = "its worker joined anew"
LOST = "lost: in no queue, and its worker does not have it"


@dataclass(frozen=True)
class Omission:
    """Since when a worker's beats omit an attempt: the beat at the first look, and the first one begun after it."""

    seq: int
    first: int | None = None
    first_at: float = 0.0


class OpenAttempts:
    """Remembers which attempts are omitted by beats, until two of them have."""

    def __init__(
        self, stores: Stores, fleet: Fleet, failover: Failover, health: HealthMonitor, now: Callable[[], float]
    ) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._failover = failover
        self._health = health
        self._now = now
        self._omitted: dict[AttemptKey, Omission] = {}

    def step(self, snapshot: Snapshot, batch: Batch) -> list[AttemptKey]:
        """Compare all open attempts; lease changes go into the batch. Returns the attempts that wait for a newer beat.

        Raises RedisError, Unavailable; may be called again.
        """
        omitted: dict[AttemptKey, Omission] = {}
        for attempt in [attempt for attempts in snapshot.open.values() for attempt in attempts]:
            self._compare(attempt, snapshot, batch, omitted)
        self._omitted = omitted
        return list(omitted)

    def _compare(
        self, attempt: OpenAttempt, snapshot: Snapshot, batch: Batch, omitted: dict[AttemptKey, Omission]
    ) -> None:
        worker = self._fleet.workers.get(attempt.worker)
        if worker is None or attempt.incarnation > worker.incarnation:
            return  # it has just joined: the next look knows it
        if attempt.incarnation < worker.incarnation:
            self._replaced(worker, attempt)
        elif worker.health is Health.LEFT:
            self._failover.take_gone(attempt, GONE)
        elif worker.health is Health.DOWN:
            self._failover.take_from_down([attempt], down_words(worker), self._health.certainty(worker))
        elif self._is_overdue(attempt):
            self._failover.overdue(attempt)
        elif attempt.state is JobState.ASSIGNED and (why := self._may_not_start(worker, attempt)):
            self._failover.take(attempt, why)
        elif self._is_listed(attempt) or _waits(attempt, snapshot):
            self._remind(attempt, snapshot, batch)
        else:
            self._missing(attempt, omitted)

    def _replaced(self, worker: Worker, attempt: OpenAttempt) -> None:
        """Its worker died and joined anew, perhaps before anybody saw it silent."""
        died = not self._health.sightings.was_leaving(worker.id, attempt.incarnation)
        taken = self._failover.take_gone(attempt, ANEW, died=died)
        if any(each.was is JobState.RUNNING for each in taken):
            silence_s = self._health.sightings.silence_before_s(worker.id)
            with self._ledger.transaction() as tx:
                incident.begin(tx, worker, None, ANEW, silence_s, proven=True, reached=False)

    def _may_not_start(self, worker: Worker, attempt: OpenAttempt) -> str | None:
        """Why its worker may not begin it: the worker takes nothing new, or people have changed worker or job."""
        beat = self._fleet.beats.get(worker.id)
        if beat is not None and beat.leaving:
            return "its worker leaves"
        if worker.health is not Health.HEALTHY or worker.intent is not Intent.ACTIVE:
            return f"its worker takes no new jobs: it {STANDING[worker_status(worker)].of(1)}"
        refused = refusal(worker, attempt.requirement)
        return f"its worker does not fit any more ({refused.filter}): {refused.why}" if refused else None

    def _is_listed(self, attempt: OpenAttempt) -> bool:
        beat = self._fleet.beats.get(attempt.worker)
        return beat is None or (attempt.job, attempt.attempt) in refs(beat)  # no beat: health decides, not we

    def _is_overdue(self, attempt: OpenAttempt) -> bool:
        """True when its worker should have ended it long ago."""
        beat = self._fleet.beats.get(attempt.worker)
        if attempt.state is not JobState.RUNNING or attempt.timeout_s is None or beat is None:
            return False  # no beat: health decides, not we
        late_s = max(OVERDUE_S, 2 * beat.interval_ms / 1000)  # what was saved since its last beat it has yet to tell
        saved_s = sum(ref.saved_s for ref in beat.attempts if (ref.job, ref.attempt) == (attempt.job, attempt.attempt))
        return attempt.age_s > attempt.timeout_s + saved_s + late_s

    def _remind(self, attempt: OpenAttempt, snapshot: Snapshot, batch: Batch) -> None:
        """Write the lease where Redis forgot it, or where a leader died before marking it."""
        lease = snapshot.leases.get(attempt.worker, {}).get(attempt.job)
        present = lease.state if lease is not None and lease.attempt == attempt.attempt else None
        if attempt.state is JobState.CANCELLED:
            if present is not LeaseState.REVOKED:
                self._failover.cancelled(attempt, self._fleet.policy.cancel_grace_s)
        elif attempt.state is JobState.RUNNING and present in (None, LeaseState.GIVEN):
            batch.claimed(attempt.worker, attempt.job, attempt.attempt, attempt.nonce, attempt.reserved)
        elif present is None:
            batch.given(attempt.worker, attempt.job, attempt.attempt, attempt.reserved)

    def _missing(self, attempt: OpenAttempt, omitted: dict[AttemptKey, Omission]) -> None:
        """Take it as lost when two beats, both begun after the first look and a second apart, have omitted it.

        The beat after the first look's may have been under way at that look, so it does not count.
        """
        key = (attempt.worker, attempt.job, attempt.attempt)
        beat = self._fleet.beats[attempt.worker]
        seen = self._omitted.get(key, Omission(beat.seq))
        if seen.first is None and beat.seq >= seen.seq + 2:
            seen = Omission(seen.seq, beat.seq, self._now())
        elif seen.first is not None and beat.seq > seen.first and self._now() - seen.first_at >= BEATS_APART_S:
            self._failover.take_gone(attempt, LOST)
            return
        omitted[key] = seen


def _waits(attempt: OpenAttempt, snapshot: Snapshot) -> bool:
    """True when its envelope is there, and no slot has taken it."""
    name = envelope_id(attempt.worker, attempt.job, attempt.attempt)
    return attempt.state is JobState.ASSIGNED and name in snapshot.queued(attempt.worker).waiting
