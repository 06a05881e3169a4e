"""Dispatch: place the waiting, write the attempt, send the envelope; in this order.

Two envelopes for one attempt never exist: one is put only for what the ledger moved just now, and
every re-dispatch has a new number. Dying between two of the stores leaves a lease without an
attempt, or an attempt without an envelope; reconcile gives both back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.coordinator.eligible import Eligible
from app.coordinator.envelopes import Envelopes
from app.coordinator.fleet import Fleet
from app.coordinator.leases import Leases
from app.coordinator.placing import Place, Run, Want
from app.coordinator.stores import Stores
from app.coordinator.waiting import why_waiting, without_group
from app.ledger import attempts, jobs
from app.ledger.jobs import Assignment, WaitingJob
from app.pool.faults import point
from app.pool.matching import offered
from app.pool.model import Checkpoint, Job
from app.pool.protocol import Order, Resume

log = logging.getLogger(__name__)

HEADS, MORE_HEADS = 4, 64  # of each class: a first look, and the next when all of those found a place
LONGEST_S = 1.0  # then reports and health have their turn


@dataclass(frozen=True)
class Placed:
    """A waiting job and the worker that place.lua reserved for it."""

    waiting: WaitingJob
    place: Place
    incarnation: int
    revision: int  # of the setup by which it matched


class Dispatch:
    """Gives waiting jobs to workers. Returns True where a worker proved to be other than we knew."""

    def __init__(self, stores: Stores, fleet: Fleet, eligible: Eligible, leases: Leases, envelopes: Envelopes) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._eligible = eligible
        self._leases = leases
        self._envelopes = envelopes

    def step(self) -> bool:
        """Place what can be placed now; note why the rest waits."""
        until = time.monotonic() + LONGEST_S
        heads = jobs.waiting_heads(self._ledger, HEADS)
        while heads:
            placed, left_over = self._place(heads)
            moved = self._assign(placed)
            self._note(left_over)
            if moved < len(placed):
                return True
            open_classes = {each.waiting.class_name for each in placed} - {each.class_name for each in left_over}
            if not open_classes or time.monotonic() > until:
                return False
            heads = [head for head in jobs.waiting_heads(self._ledger, MORE_HEADS) if head.class_name in open_classes]
        return False

    def _place(self, heads: Sequence[WaitingJob]) -> tuple[list[Placed], list[WaitingJob]]:
        placed: list[Placed] = []
        left_over: list[WaitingJob] = []
        classes = _by_class(heads)
        runs = [
            Run(name, members[0].job.spec.requirement, tuple(self._want(member) for member in members))
            for name, members in classes.items()
        ]
        for members, places in zip(classes.values(), self._eligible.place(runs), strict=True):
            for member, place in zip(members, places, strict=True):
                worker = self._fleet.workers.get(place.worker) if place else None
                if place and worker:
                    placed.append(Placed(member, place, worker.incarnation, worker.revision))
                else:
                    left_over.append(member)
        point("dispatch.placed")
        return placed, left_over

    def _want(self, waiting: WaitingJob) -> Want:
        requirement = waiting.job.spec.requirement
        failed_on = frozenset(waiting.failed_on)
        above_mb = self._above_mb(waiting)
        # Not back to where it failed, unless nobody else can run it.
        avoid = failed_on if failed_on and self._fleet.healthy_fits(requirement, failed_on, above_mb) else frozenset()
        return Want(
            waiting.job.id,
            waiting.job.attempt,
            requirement.min_vram_mb or 0,
            requirement.gpus or 0,
            tuple({*requirement.exclude_workers, *avoid, *self._fleet.cut_off}),
            above_mb,
        )

    def _above_mb(self, waiting: WaitingJob) -> int:
        """A larger card than where it ran out of memory, unless nobody has one."""
        above_mb = waiting.above_mb
        fits = above_mb and self._fleet.healthy_fits(waiting.job.spec.requirement, above_mb=above_mb)
        return above_mb if fits else 0

    def _assign(self, placed: Sequence[Placed]) -> int:
        """How many the ledger moved; the others are given back."""
        if not placed:
            return 0
        moved = jobs.assign(self._ledger, [self._assignment(each) for each in placed])
        point("dispatch.assigned")
        sent = [each for each in placed if each.waiting.job.id in moved]
        self._give_back([each for each in placed if each.waiting.job.id not in moved])
        self._send(sent)
        return len(sent)

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
        return Order(
            job=job.id,
            attempt=job.attempt,
            worker=placed.place.worker,
            incarnation=placed.incarnation,
            workflow=job.spec.requirement.workflow,
            params=dict(job.spec.params),
            resume=_resume(job, newest),
            timeout_s=self._limit(placed, "timeout_s"),
            stall_s=self._limit(placed, "stall_s"),
            strict=job.spec.strict or self._fleet.policy.strict,
            max_orphan_s=job.spec.max_orphan_s,
            gpus=placed.place.gpus,
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
        )

    def _limit(self, placed: Placed, name: Literal["timeout_s", "stall_s"]) -> int | None:
        """The job's own; else its workflow's, as the worker declares it; else the pool's."""
        spec = placed.waiting.job.spec
        declared = offered(self._fleet.workers[placed.place.worker], spec.requirement.workflow)
        limits: list[int | None] = [getattr(each, name) for each in (spec, declared, self._fleet.policy) if each]
        return next((limit for limit in limits if limit is not None), None)

    def _give_back(self, unmoved: Iterable[Placed]) -> None:
        batch = self._leases.batch()
        for each in unmoved:
            batch.released(each.place.worker, each.waiting.job.id, each.waiting.job.attempt)
        batch.send()

    def _note(self, waiting: Sequence[WaitingJob]) -> None:
        whys = {each.job.id: self._why(each) for each in waiting}
        changed = {each.job.id: whys[each.job.id] for each in waiting if each.job.waiting != whys[each.job.id]}
        jobs.note_waiting(self._ledger, changed)

    def _why(self, waiting: WaitingJob) -> str:
        needs = waiting.job.spec.requirement
        gone = without_group(needs, self._fleet.groups)
        return gone or why_waiting(needs, self._fleet.workers.values(), self._above_mb(waiting))


def _resume(job: Job, newest: Checkpoint | None) -> Resume | None:
    if newest is not None:
        return Resume(newest.number, newest.attempt, newest.state, newest.files, newest.fraction)
    if job.spec.resume is not None:  # of a scheduler that keeps checkpoints itself
        return Resume(0, 0, job.spec.resume)
    return None


def _by_class(heads: Iterable[WaitingJob]) -> dict[str, list[WaitingJob]]:
    """In the order in which their heads came."""
    found: dict[str, list[WaitingJob]] = {}
    for head in heads:
        found.setdefault(head.class_name, []).append(head)
    return found
