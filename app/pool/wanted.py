"""What is wanted of a worker, from its setup and the policy. Pure."""

from __future__ import annotations

from app.pool.capacity import depth
from app.pool.model import Intent, Worker
from app.pool.policy import Policy
from app.pool.protocol import Wanted


def wanted_of(worker: Worker | None, policy: Policy, number: int = 0) -> Wanted:
    """What is wanted of this worker now, under this number; None: of one that is about to join for the first time."""
    return Wanted(
        number=number,
        intent=str(worker.intent if worker else Intent.ACTIVE),
        restart=worker.restart if worker else 0,
        interval_ms=round(policy.heartbeat_interval_s * 1000),
        missed_beats=policy.missed_beats,
        queue_depth=depth(worker, policy) if worker else policy.queue_depth,
        max_orphan_s=policy.max_orphan_s,
        slots=worker.slots_wanted if worker else None,
    )
