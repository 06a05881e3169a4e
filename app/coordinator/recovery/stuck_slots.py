"""Envelopes that nobody takes: a worker that beats with a free slot lets one lie.

It is degraded, and what has not started there goes to others; but the envelope stays in its queue, for
its claim is refused: when a slot has taken it, the worker takes again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.coordinator.attempts.envelopes import QueuedEnvelopes
from app.coordinator.fleet import Fleet
from app.coordinator.health.failure_detector import takes_nothing
from app.coordinator.health.verdicts import HealthMonitor
from app.ledger.jobs import OpenAttempt
from app.pool.keys import envelope_id
from app.pool.model import Health, JobState, WorkerId

LIES_S = 10.0


class StuckSlots:
    """Remembers since when each envelope has lain beside a free slot; a new leader waits anew."""

    def __init__(self, fleet: Fleet, health: HealthMonitor, now: Callable[[], float]) -> None:
        self._fleet = fleet
        self._health = health
        self._now = now
        self._since: dict[str, float] = {}

    def step(self, held: Mapping[WorkerId, Sequence[OpenAttempt]], lying: Mapping[WorkerId, QueuedEnvelopes]) -> bool:
        """Degrade who does not take, and let recover who has; True when one will soon have lain too long."""
        since: dict[str, float] = {}
        for worker, its in lying.items():
            names = {
                envelope_id(worker, each.job, each.attempt)
                for each in held.get(worker, ())
                if each.state is JobState.ASSIGNED
            }
            self._worker(worker, its, names & its.waiting, since)
        self._since = since
        return any(self._now() - at >= LIES_S / 2 for at in since.values())

    def _worker(self, id_: WorkerId, its: QueuedEnvelopes, assigned: set[str], since: dict[str, float]) -> None:
        worker, beat = self._fleet.workers[id_], self._fleet.beats.get(id_)
        if takes_nothing(worker) and not its.waiting and beat is not None:
            self._health.takes_again(worker)
        if worker.health is not Health.HEALTHY or beat is None or beat.leaving or not beat.free_slots:
            return
        since.update({name: self._since.get(name, self._now()) for name in assigned})
        longest = max((self._now() - since[name] for name in assigned), default=0.0)
        if longest >= LIES_S:
            why = f"a job has lain in its queue for {longest:.0f} s while a slot is free"
            self._health.takes_nothing(worker, why)
