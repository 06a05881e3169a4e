"""Stuck slots: a worker beats with a free slot and lets an envelope lie.

Such a worker is degraded, and what has not started there goes to others. The envelope stays in its queue. Its
claim is refused; once a slot has taken it, the worker is healthy again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.coordinator.attempts.envelopes import QueuedEnvelopes
from app.coordinator.fleet import Fleet
from app.coordinator.health.failure_detector import takes_nothing
from app.coordinator.health.verdicts import HealthMonitor
from app.ledger.open_attempts import OpenAttempt
from app.pool.keys import envelope_id
from app.pool.model import Health, JobState, WorkerId

LIES_S = 10.0


class StuckSlots:
    """Remembers since when each envelope has lain beside a free slot; a new leader begins to wait again."""

    def __init__(self, fleet: Fleet, health: HealthMonitor, now: Callable[[], float]) -> None:
        self._fleet = fleet
        self._health = health
        self._now = now
        self._since: dict[str, float] = {}

    def step(
        self, open_attempts: Mapping[WorkerId, Sequence[OpenAttempt]], envelopes: Mapping[WorkerId, QueuedEnvelopes]
    ) -> bool:
        """Degrade workers that take nothing, revive those that took; True when an envelope has nearly lain too long.

        Raises RedisError, Unavailable; may be called again.
        """
        since: dict[str, float] = {}
        for worker, queued in envelopes.items():
            assigned = {
                envelope_id(worker, attempt.job, attempt.attempt)
                for attempt in open_attempts.get(worker, ())
                if attempt.state is JobState.ASSIGNED
            }
            self._worker(worker, queued, assigned & queued.waiting, since)
        self._since = since
        return any(self._now() - at >= LIES_S / 2 for at in since.values())

    def _worker(self, id_: WorkerId, queued: QueuedEnvelopes, assigned: set[str], since: dict[str, float]) -> None:
        worker, beat = self._fleet.workers[id_], self._fleet.beats.get(id_)
        if takes_nothing(worker) and not queued.waiting and beat is not None:
            self._health.takes_again(worker)
        if worker.health is not Health.HEALTHY or beat is None or beat.leaving or not beat.free_slots:
            return
        since.update({name: self._since.get(name, self._now()) for name in assigned})
        longest = max((self._now() - since[name] for name in assigned), default=0.0)
        if longest >= LIES_S:
            why = f"a job has lain in its queue for {longest:.0f} s while a slot is free"
            self._health.takes_nothing(worker, why)
