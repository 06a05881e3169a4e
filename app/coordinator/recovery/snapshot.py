"""One look at all stores, as reconcile compares them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.coordinator.attempts.envelopes import QueuedEnvelopes
from app.ledger.open_attempts import OpenAttempt
from app.pool.keys import envelope_parts
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Beat, Lease

AttemptKey = tuple[WorkerId, JobId, int]


@dataclass(frozen=True)
class Snapshot:
    """The finds of one look: the open attempts of all workers; leases and envelopes of those that were looked at."""

    open: dict[WorkerId, list[OpenAttempt]]
    leases: dict[WorkerId, dict[JobId, Lease]]
    envelopes: dict[WorkerId, QueuedEnvelopes]

    def keys(self, worker: WorkerId) -> set[tuple[JobId, int]]:
        """The attempts that the ledger holds as this worker's."""
        return {(attempt.job, attempt.attempt) for attempt in self.open.get(worker, [])}

    def queued(self, worker: WorkerId) -> QueuedEnvelopes:
        """The envelopes of this worker; none where it was not looked at."""
        return self.envelopes.get(worker, QueuedEnvelopes())

    def has_any(self, worker: WorkerId) -> bool:
        """True when this worker, which was looked at, has a lease or an envelope."""
        return bool(self.leases[worker]) or self.queued(worker) != QueuedEnvelopes()


def moved_on(names: Iterable[str], held: set[tuple[JobId, int]]) -> list[str]:
    """The envelopes of attempts that the ledger no longer holds there."""
    parts = {name: envelope_parts(name) for name in names}
    return [name for name, found in parts.items() if found is None or (found[1], found[2]) not in held]


def refs(beat: Beat) -> set[tuple[JobId, int]]:
    """The attempts that this beat lists."""
    return {(ref.job, ref.attempt) for ref in beat.attempts}
