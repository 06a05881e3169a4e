"""Dispatch: place the waiting, write the attempt, send the envelope; in this order.

Two envelopes for one attempt never exist: one is put only for what the ledger moved just now, and
every re-dispatch has a new number. Dying between two of the stores leaves a lease without an
attempt, or an attempt without an envelope; reconcile gives both back.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from app.coordinator.eligible import Eligible
from app.coordinator.envelopes import Envelopes
from app.coordinator.fleet import Fleet
from app.coordinator.kept import Kept
from app.coordinator.leases import Leases
from app.coordinator.order import QueueKey, in_order, queue_of
from app.coordinator.parked import Parked
from app.coordinator.placing import Place, Run, Want
from app.coordinator.stores import Stores
from app.coordinator.waiting import why_waiting, without_group
from app.ledger import attempts, jobs, waiting
from app.ledger.jobs import Assignment
from app.ledger.waiting import WaitingJob
from app.pool.faults import point
from app.pool.matching import offered
from app.pool.model import Checkpoint, Job, JobId, WorkerId
from app.pool.protocol import Order, Resume

log = logging.getLogger(__name__)

HEADS, MORE, MOST_HEADS = 4, 16, 512  # of each queue: a first look, and the next ones where that was not all
LONGEST_S = 1.0  # then reports and health have their turn


@dataclass(frozen=True)
class Candidate:
    """A waiting job in its place in the order, and the workers that are kept for jobs before it."""

    waiting: WaitingJob
    behind: frozenset[WorkerId]


@dataclass(frozen=True)
class Placed:
    """A waiting job and the worker that place.lua reserved for it."""

    waiting: WaitingJob
    place: Place
    incarnation: int
    revision: int  # of the setup by which it matched


class Dispatch:
    """Gives waiting jobs to workers. Returns True where a worker proved to be other than we knew."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        eligible: Eligible,
        leases: Leases,
        envelopes: Envelopes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._eligible = eligible
        self._leases = leases
        self._envelopes = envelopes
        self._now = now
        self._parked = Parked(stores.ledger, fleet, now)
        self.kept = Kept(stores, fleet)
        self._began = now()
        self._served: dict[QueueKey, float] = {}  # when a queue was given something; before a restart is as never

    def step(self) -> bool:
        """Place what can be placed now; note why the rest waits."""
        until = self._now() + LONGEST_S
        waiting.due(self._ledger)
        classes = {each.name: each for each in waiting.classes(self._ledger)}
        open_classes = self._eligible.has_room({name: each.requirement for name, each in classes.items()})
        full = classes.keys() - open_classes
        because: dict[str, str] = {}
        each = HEADS
        while open_classes:
            heads = waiting.heads(self._ledger, open_classes, each)
            candidates = self._candidates(heads, full)
            placed, left_over = self._place(candidates)
            moved = self._assign(placed)
            crowded = self._note(left_over)
            if moved < len(placed):
                return True
            full |= crowded
            because |= self.kept.why(crowded)
            open_classes = _longer(heads, each) - crowded
            if self._now() > until or (each == MOST_HEADS and not placed):
                break
            each = min(MOST_HEADS, each * MORE)
        self._parked.step([classes[name] for name in sorted(full)], because)
        return False

    def _candidates(self, heads: Sequence[WaitingJob], full: set[str]) -> list[Candidate]:
        """In their order; jobs that need much at once keep a worker from those behind them."""
        large = waiting.heads(self._ledger, full & self._parked.large, 1)
        everyone = [*heads, *large]
        owners = {head.job.spec.owner for head in everyone}
        held = waiting.slots_in_use(self._ledger) if len(owners) > 1 else {}
        ordered = in_order(everyone, held, lambda key: self._now() - self._served.get(key, self._began))
        self.kept.choose(_first_of_each(ordered, full))
        found, behind = [], frozenset[WorkerId]()
        for head in ordered:
            if head.class_name in full:
                behind |= self.kept.of(head.job.id)
            else:
                found.append(Candidate(head, behind))
        return found

    def _place(self, candidates: Sequence[Candidate]) -> tuple[list[Placed], list[tuple[WaitingJob, Want]]]:
        placed: list[Placed] = []
        left_over: list[tuple[WaitingJob, Want]] = []
        parts = [list(some) for _, some in groupby(candidates, lambda each: each.waiting.class_name)]
        runs = [
            Run(
                some[0].waiting.class_name,
                some[0].waiting.job.spec.requirement,
                tuple(self._want(each) for each in some),
            )
            for some in parts
        ]
        for some, run, places in zip(parts, runs, self._eligible.place(runs), strict=True):
            for each, want, place in zip(some, run.wants, places, strict=True):
                worker = self._fleet.workers.get(place.worker) if place else None
                if place and worker:
                    placed.append(Placed(each.waiting, place, worker.incarnation, worker.revision))
                else:
                    left_over.append((each.waiting, want))
        point("dispatch.placed")
        return placed, left_over

    def _want(self, candidate: Candidate) -> Want:
        job, above_mb = candidate.waiting.job, self._above_mb(candidate.waiting)
        requirement = job.spec.requirement
        others = self._avoided(candidate.waiting, above_mb)
        return Want(
            job.id,
            job.attempt,
            requirement.min_vram_mb or 0,
            requirement.gpus or 0,
            tuple({*requirement.exclude_workers, *others, *candidate.behind, *self._fleet.cut_off}),
            above_mb,
        )

    def _avoided(self, waiting: WaitingJob, above_mb: int) -> tuple[WorkerId, ...]:
        """Not back to where it failed, unless nobody else can run it."""
        failed_on = waiting.failed_on
        fits = failed_on and self._fleet.healthy_fits(waiting.job.spec.requirement, failed_on, above_mb)
        return failed_on if fits else ()

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
        self._served |= {queue_of(each.waiting): self._now() for each in sent}
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
            placement=placed.place.record,
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

    def _note(self, left_over: Sequence[tuple[WaitingJob, Want]]) -> set[str]:
        """Note why those wait that wait for other reasons than their class; returns the classes of the others."""
        whys: dict[JobId, str | None] = {}
        crowded = set()
        for each, want in left_over:
            why = self._own_why(each, want)
            if why is None:
                crowded.add(each.class_name)
            if why != each.job.waiting:
                whys[each.job.id] = why
        waiting.note_jobs(self._ledger, whys)
        return crowded

    def _own_why(self, left: WaitingJob, want: Want) -> str | None:
        needs = left.job.spec.requirement
        if not (needs.exclude_workers or want.above_mb or set(left.failed_on) & set(want.excluded)):
            return None
        gone = without_group(needs, self._fleet.groups)
        return gone or why_waiting(needs, self._fleet.workers.values(), want.above_mb)


def _first_of_each(ordered: Iterable[WaitingJob], classes: Collection[str]) -> list[WaitingJob]:
    firsts: dict[str, WaitingJob] = {}
    for head in ordered:
        if head.class_name in classes:
            firsts.setdefault(head.class_name, head)
    return list(firsts.values())


def _longer(heads: Iterable[WaitingJob], each: int) -> set[str]:
    """The classes with a queue of which perhaps not all was looked at."""
    seen = Counter((head.class_name, queue_of(head)) for head in heads)
    return {name for (name, _), number in seen.items() if number == each}


def _resume(job: Job, newest: Checkpoint | None) -> Resume | None:
    if newest is not None:
        return Resume(newest.number, newest.attempt, newest.state, newest.files, newest.fraction)
    if job.spec.resume is not None:  # of a scheduler that keeps checkpoints itself
        return Resume(0, 0, job.spec.resume)
    return None
