"""Assigning: what was placed becomes an attempt in the ledger, then an envelope; in this order.

Two envelopes for one attempt never exist: one is put only for what the ledger moved just now, and
every re-dispatch has a new number. Dying between two of the stores leaves a lease without an
attempt, or an attempt without an envelope; reconcile gives both back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.fleet import Fleet
from app.coordinator.placement.place import Place
from app.coordinator.stores import Stores
from app.ledger import attempts, jobs
from app.ledger.jobs import Assignment
from app.ledger.waiting import WaitingJob
from app.pool.faults import point
from app.pool.matching import offered
from app.pool.model import TIME_LIMITS, Checkpoint, Job
from app.pool.protocol import Order, ResumePoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placed:
    """A waiting job and the worker that place.lua reserved for it."""

    waiting: WaitingJob
    place: Place
    incarnation: int
    revision: int  # of the setup by which it matched


class Assigning:
    """Writes attempts and sends them."""

    def __init__(self, stores: Stores, fleet: Fleet, leases: Leases, envelopes: Envelopes) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._leases = leases
        self._envelopes = envelopes

    def assign(self, placed: Sequence[Placed]) -> list[Placed]:
        """Those that the ledger moved, whose envelopes are sent; the others are given back."""
        if not placed:
            return []
        moved = jobs.assign(self._ledger, [self._assignment(each) for each in placed])
        point("dispatch.assigned")
        sent = [each for each in placed if each.waiting.job.id in moved]
        self.give_back([each for each in placed if each.waiting.job.id not in moved])
        self._send(sent)
        return sent

    def _send(self, sent: Sequence[Placed]) -> None:
        if not sent:
            return
        resumed = [each.waiting.job.id for each in sent if each.waiting.job.attempt > 1]
        newest = attempts.newest_checkpoints(self._ledger, resumed) if resumed else {}
        self._envelopes.put(self._order(each, newest.get(each.waiting.job.id)) for each in sent)
        point("dispatch.put")  # no bell: a slot waits in its queue, and a lease that is given asks nothing of main
        for each in sent:
            log.info(
                "assigned: job=%s attempt=%d worker=%s",
                each.waiting.job.id,
                each.waiting.job.attempt,
                each.place.worker,
            )

    def _order(self, placed: Placed, newest: Checkpoint | None) -> Order:
        """Everything the guard needs, the newest kept checkpoint with it."""
        job = placed.waiting.job
        limits: dict[str, Any] = {name: self._limit(placed, name) for name in TIME_LIMITS}
        return Order(
            job=job.id,
            attempt=job.attempt,
            worker=placed.place.worker,
            incarnation=placed.incarnation,
            workflow=job.spec.requirement.workflow,
            params=dict(job.spec.params),
            resume=_resume(job, newest),
            strict=job.spec.strict or self._fleet.policy.strict,
            max_orphan_s=job.spec.max_orphan_s,
            gpus=placed.place.gpus,
            **limits,
        )

    def _assignment(self, placed: Placed) -> Assignment:
        job = placed.waiting.job
        return Assignment(
            job.id,
            job.attempt,
            placed.place.worker,
            placed.incarnation,
            placed.place.gpus,
            placed.place.vram_mb,
            placed.place.whole,
            placed.place.slots,
            strict=job.spec.strict or self._fleet.policy.strict,
            timeout_s=self._limit(placed, "timeout_s"),
            revision=placed.revision,
            placement=placed.place.record,
        )

    def _limit(self, placed: Placed, name: str) -> int | None:
        """A time limit in seconds: the job's own; else its workflow's, as the worker declares it; else the pool's."""
        spec = placed.waiting.job.spec
        declared = offered(self._fleet.workers[placed.place.worker], spec.requirement.workflow)
        limits: list[int | None] = [getattr(each, name) for each in (spec, declared, self._fleet.policy) if each]
        return next((limit for limit in limits if limit is not None), None)

    def give_back(self, unmoved: Sequence[Placed]) -> None:
        """Remove their leases."""
        if not unmoved:
            return
        batch = self._leases.batch()
        for each in unmoved:
            batch.released(each.place.worker, each.waiting.job.id, each.waiting.job.attempt)
        batch.send()


def _resume(job: Job, newest: Checkpoint | None) -> ResumePoint | None:
    if newest is not None:
        return ResumePoint(newest.number, newest.attempt, newest.state, newest.files, newest.fraction)
    if job.spec.resume is not None:  # of a scheduler that keeps checkpoints itself
        return ResumePoint(0, 0, job.spec.resume)
    return None
