"""Assignment: what was placed becomes an attempt in the ledger, then an envelope; in this order.

Two envelopes for one attempt never exist: one is put only for what the ledger moved just now, and every re-dispatch
has a new number. Dying between two of the stores leaves a lease without an attempt, or an attempt without an
envelope; reconcile gives both back.
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
from app.ledger import attempts, waiting
from app.ledger.waiting import Assignment, WaitingJob
from app.pool.faults import point
from app.pool.matching import offered
from app.pool.model import TIME_LIMITS, Checkpoint, Job, JobId, Worker
from app.pool.protocol import Order, ResumePoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placed:
    """A waiting job, the place that was reserved for it, and the worker as it was known then (None: it has gone)."""

    job: WaitingJob
    workflow: str
    place: Place
    worker: Worker | None


class Assigner:
    """Writes attempts and sends their envelopes."""

    def __init__(self, stores: Stores, fleet: Fleet, leases: Leases, envelopes: Envelopes) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._leases = leases
        self._envelopes = envelopes

    def assign(self, placed: Sequence[Placed]) -> list[Placed]:
        """Assign what was placed; returns what the ledger moved, whose envelopes are sent. The rest is given back.

        Raises Unavailable or RedisError; a step that is repeated assigns nothing twice.
        """
        there = [each for each in placed if each.worker is not None]
        assignments = [self._assignment(each, each.worker) for each in there if each.worker is not None]
        moved = waiting.assign(self._ledger, assignments) if assignments else {}
        point("dispatch.assigned")
        sent = [each for each in there if each.job.id in moved]
        self._give_back([each for each in placed if each.job.id not in moved])
        self._send(sent, moved)
        return sent

    def _assignment(self, placed: Placed, worker: Worker) -> Assignment:
        return Assignment(
            placed.job.id,
            placed.job.attempt,
            worker.id,
            worker.incarnation,
            placed.place.reserved,
            strict=self._fleet.policy.strict,
            timeout_s=self._limit("timeout_s", worker, placed.workflow),
            class_name=placed.job.class_name,
            revision=worker.revision,
            placement=placed.place.record,
        )

    def _send(self, sent: Sequence[Placed], moved: dict[JobId, Job]) -> None:
        if not sent:
            return
        resumed = [each.job.id for each in sent if each.job.attempt > 1]
        newest = attempts.newest_checkpoints(self._ledger, resumed) if resumed else {}
        self._envelopes.put(self._order(each, moved[each.job.id], newest.get(each.job.id)) for each in sent)
        point("dispatch.put")  # no bell: a slot waits in its queue, and a lease that is given asks nothing of main
        for each in sent:
            log.info("assigned: job=%s attempt=%d worker=%s", each.job.id, each.job.attempt, each.place.worker)

    def _order(self, placed: Placed, job: Job, newest: Checkpoint | None) -> Order:
        """Everything the guard needs, the newest kept checkpoint with it."""
        worker = placed.worker
        assert worker is not None
        spec, workflow, reserved = job.spec, job.spec.requirement.workflow, placed.place.reserved
        limits: dict[str, Any] = {
            name: getattr(spec, name) or self._limit(name, worker, workflow) for name in TIME_LIMITS
        }
        return Order(
            job=job.id,
            attempt=job.attempt,
            worker=worker.id,
            incarnation=worker.incarnation,
            workflow=workflow,
            params=dict(spec.params),
            resume=_resume(job, newest),
            strict=spec.strict or self._fleet.policy.strict,
            max_orphan_s=spec.max_orphan_s,
            gpus=reserved.gpus,
            free_mb=max(reserved.vram_mb, spec.requirement.min_vram_mb or 0),
            others_mb=self._fleet.policy.others_vram_mb if reserved.whole else None,
            log_limit_mib=self._fleet.policy.log_limit_mib,
            **limits,
        )

    def _limit(self, name: str, worker: Worker, workflow: str) -> int | None:
        """A time limit, in seconds, of jobs that name none: their workflow's, as the worker declares it; else the
        pool's."""
        declared: int | None = getattr(offered(worker, workflow), name, None)
        of_pool: int | None = getattr(self._fleet.policy, name)
        return of_pool if declared is None else declared

    def _give_back(self, unmoved: Sequence[Placed]) -> None:
        """Remove their leases."""
        if not unmoved:
            return
        batch = self._leases.batch()
        for each in unmoved:
            batch.released(each.place.worker, each.job.id, each.job.attempt)
        batch.send()


def _resume(job: Job, newest: Checkpoint | None) -> ResumePoint | None:
    if newest is not None:
        return ResumePoint(newest.number, newest.attempt, newest.state, newest.files, newest.fraction)
    if job.spec.resume is not None:  # of a scheduler that keeps checkpoints itself
        return ResumePoint(0, 0, job.spec.resume)
    return None
