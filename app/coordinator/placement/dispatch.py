"""Dispatch: which of the waiting jobs come next, and where each of them is placed.

A step goes by classes, since all jobs of a class demand the same: where one of them finds no room, none does.
0. Classes of workflows on hold are left out (held), but where one job of the workflow may try.
1. The index says which classes have room. Of the others nothing is read.
2. The first jobs of each queue of those that have room are read and put in order (fairness).
3. As far as their order is certain they are placed by the script (place), which reserves, and assigned in the ledger
   (assign), which decides. A class of which a job found no room is full for the rest of the step.
4. While anything was placed and there is room for what was not read, this is repeated with more of each queue.
At last the classes that are left have the reason noted why they wait (unschedulable).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, groupby, islice, repeat
from typing import NamedTuple

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.budget import DISPATCH_S, Budget
from app.coordinator.fleet import Fleet
from app.coordinator.placement.assign import Assigner, Placed
from app.coordinator.placement.backfill import Backfill, KeptWorker
from app.coordinator.placement.fairness import Queue, Ranking, in_order, last_read, queue_of
from app.coordinator.placement.held import HeldWorkflows
from app.coordinator.placement.index import Index, level_of
from app.coordinator.placement.place import Run, Unplaced
from app.coordinator.placement.unschedulable import UnschedulableClasses
from app.coordinator.stores import Stores
from app.ledger import holds, waiting
from app.ledger.waiting import WaitingClass, WaitingJob
from app.pool.capacity import least_mb
from app.pool.faults import point
from app.pool.model import JobId, Requirement, WaitingFor, WaitingReason, WorkerId

PORTIONS = (32, 256)  # jobs that are placed in one round trip, and assigned in one statement: at first, and later
HEADS, MORE, MOST_HEADS = 4, 8, 512  # jobs read of each queue: at first, growth with each look, limit
SERVED_S = 3600.0  # service older than this does not count
Kin = tuple[Requirement, int, str]  # what ages together: a demand, priority and owner
OLDER_ATTEMPT = WaitingReason(
    WaitingFor.SLOT, "the worker that has room for it may still have an older attempt of it, which has to end first"
)


class NextJob(NamedTuple):
    """A job whose turn it is, and the workers that are kept for jobs ahead of it."""

    job: WaitingJob
    barred: frozenset[WorkerId]


@dataclass
class DispatchState:
    """What one step knows and finds out of the classes, by name."""

    demands: Mapping[str, WaitingClass]  # of this step: wishes that no worker can meet are left out
    full: set[str]  # that nobody has room for
    held: HeldWorkflows  # none of whose classes are among the demands while no job of theirs may start
    tried: set[str] = field(default_factory=set)  # full classes of workflows on hold of which one job was placed
    refused: set[str] = field(default_factory=set)  # full classes of which a job was refused in this step
    kept_from: set[str] = field(default_factory=set)  # of these, those that were not offered every worker
    delayed: set[str] = field(default_factory=set)  # classes with jobs that have an older attempt where room is
    reasons: dict[str, WaitingReason] = field(default_factory=dict)  # as far as they are known without a closer look
    knows_kept: bool = False  # workers were kept for large jobs
    kinds: dict[Requirement, list[str]] = field(default_factory=dict)  # names of classes by kind, once asked for

    def of_kind(self, kind_of: Callable[[str], Requirement]) -> Mapping[Requirement, Sequence[str]]:
        """The names of the classes of each kind."""
        if not self.kinds:
            for name in self.demands:
                self.kinds.setdefault(kind_of(name), []).append(name)
        return self.kinds

    def close(self, workflows: Collection[str]) -> None:
        """Count the classes of those of these workflows as full that are on hold: one job of each was placed."""
        if self.held.tried(workflows):
            shut = (name for name, demand in self.demands.items() if self.held.is_shut(demand.requirement.workflow))
            self.tried.update(shut)
            self.full |= self.tried

    def workflow_of(self, class_name: str) -> str:
        """The workflow of a class's jobs."""
        return self.demands[class_name].requirement.workflow

    def slots_of(self, fleet: Fleet) -> Callable[[WaitingJob], int]:
        """How many slots each job takes; none where that is no turn of its owner's: its class is full, or on hold."""
        return lambda job: (
            0
            if job.class_name in self.full or self.workflow_of(job.class_name) in self.held
            else fleet.slots_of(self.workflow_of(job.class_name))
        )


class Dispatch:
    """Gives waiting jobs to workers."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        index: Index,
        leases: Leases,
        envelopes: Envelopes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._index = index
        self._assigner = Assigner(stores, fleet, leases, envelopes)
        self._backfill = Backfill(stores, fleet, now)
        self._unschedulable = UnschedulableClasses(stores.ledger, fleet, now)
        self._now = now
        self._began = now()
        self._classes: dict[str, WaitingClass] = {}  # as they are in the ledger
        self._kinds: dict[str, Requirement] = {}  # by class, as far as they were asked for
        self._latest = DispatchState({}, set(), HeldWorkflows([]))
        self._served: dict[Kin, float] = {}  # when jobs of this kin were given something; before this term is not known

    def step(self, sweep: bool) -> bool:
        """Place what can be placed now, and note why the rest waits.

        sweep: look also at what has changed without dispatch. Returns True when a worker proved to be other than it
        was known. Raises Unavailable or RedisError, and may be repeated.
        """
        self._classes = waiting.classes(self._ledger, self._classes)
        soften = cache(self._fleet.soft_constraints)  # many classes ask for the same
        held = HeldWorkflows(holds.listed(self._ledger))
        may_start = {name: each for name, each in self._classes.items() if not held.is_shut(each.requirement.workflow)}
        demands = {name: _as_it_stands(each, soften) for name, each in may_start.items()}
        full_before = self._latest.refused
        state = self._latest = DispatchState(demands, demands.keys() - self._index.with_room(demands.values()), held)
        if not self._place_all(state, full_before):
            return True
        self._note(state, sweep)
        return False

    @property
    def knows_holds(self) -> bool:
        """Whether a workflow was on hold in the last step."""
        return self._latest.held.any

    def kept_workers(self) -> frozenset[WorkerId]:
        """The workers that were kept for large jobs in the last step. Raises Unavailable or RedisError."""
        if not self._latest.knows_kept:
            self._rank(self._latest, [], (), self._latest.full)
        return self._backfill.workers()

    def _place_all(self, state: DispatchState, full_before: Collection[str]) -> bool:
        """Place in looks that reach further each time; False when a worker proved to be other than it was known."""
        budget, read_each, progress = Budget(self._now, DISPATCH_S), HEADS, True
        while open_classes := state.demands.keys() - state.full:
            heads = waiting.heads(self._ledger, open_classes, read_each)
            unread = last_read(heads, read_each)
            # Where older attempts are in the way of every job that may be read, the order goes on behind them.
            behind = read_each == MOST_HEADS and not progress
            ranking = self._rank(state, heads, () if behind else unread, state.full.union(full_before))
            placed, assigned = self._give(state, ranking.certain, budget)
            if assigned < placed:
                return False
            progress = placed > 0 or not open_classes.isdisjoint(state.full)
            nothing_left = not ranking.uncertain and not unread
            if nothing_left or budget.is_spent or (behind and not progress):
                break
            read_each = min(MOST_HEADS, read_each * MORE)
            self._note_full(state)
        return True

    def _note_full(self, state: DispatchState) -> None:
        """Ask the index which of the classes that had room have none by now."""
        still_open = [demand for name, demand in state.demands.items() if name not in state.full]
        state.full |= {each.name for each in still_open} - self._index.with_room(still_open)

    def _rank(
        self, state: DispatchState, heads: Sequence[WaitingJob], last: Collection[JobId], without_room: Collection[str]
    ) -> Ranking:
        """Rank jobs, and keep workers for the first of each large class that finds no room."""
        large = self._unschedulable.large.intersection(without_room) - state.tried
        firsts = waiting.heads(self._ledger, large & state.full, 1)
        owners = {job.owner for job in (*heads, *firsts)}
        held = waiting.slots_in_use(self._ledger) if len(owners) > 1 else {}
        ranking = in_order([*heads, *firsts], held, state.slots_of(self._fleet), self._unserved_s, last)
        first_of_kind: dict[Requirement, WaitingJob] = {}  # a little more memory makes no other kind
        for job in (*ranking.certain, *ranking.uncertain):
            if job.class_name in large:
                first_of_kind.setdefault(self._kind(job.class_name), job)
        self._backfill.choose((job.id, state.demands[job.class_name]) for job in first_of_kind.values())
        state.knows_kept = True
        return ranking

    def _give(self, state: DispatchState, jobs: Iterable[WaitingJob], budget: Budget) -> tuple[int, int]:
        """Place these jobs in their order; returns how many were placed, and how many of these assigned.

        In portions that grow, since most often few slots are free and many jobs wait. Where one is refused the index is
        asked once for all classes: else each would have to be refused by a script call of its own.
        """
        placed = assigned = 0
        next_jobs, sizes = self._next_jobs(state, jobs), chain(PORTIONS, repeat(PORTIONS[-1]))
        while portion := list(islice(next_jobs, next(sizes))):
            reserved = self._place(state, portion)
            state.close({each.workflow for each in reserved})
            moved = self._assigner.assign(reserved)
            self._served |= {self._kin(queue_of(each.job)): self._now() for each in moved}
            placed, assigned = placed + sum(each.worker is not None for each in reserved), assigned + len(moved)
            if budget.is_spent:
                break
            if any(each.job.class_name in state.full for each in portion):
                self._note_full(state)
        unexplained = state.kept_from - state.reasons.keys()
        state.reasons |= self._backfill.reasons(state.demands[name] for name in unexplained)
        return placed, assigned

    def _next_jobs(self, state: DispatchState, jobs: Iterable[WaitingJob]) -> Iterator[NextJob]:
        """The jobs whose class may have room, each with the workers that are kept for jobs ahead of it."""
        ahead: list[KeptWorker] = []
        lets_through = state.held.first_of_each(state.workflow_of)
        for job in jobs:
            if job.class_name not in state.full and lets_through(job.class_name):
                requirement = state.demands[job.class_name].requirement
                yield NextJob(job, self._backfill.barred_from_next(ahead, requirement) if ahead else frozenset())
            if kept := self._backfill.kept_for(job.id):
                ahead.append(kept)

    def _place(self, state: DispatchState, next_jobs: Sequence[NextJob]) -> list[Placed]:
        """Reserve places, and note which classes are full by that."""
        grouped = [
            (state.demands[name], barred, [each.job for each in members])
            for (name, barred), members in groupby(next_jobs, lambda each: (each.job.class_name, each.barred))
        ]
        runs = [
            Run(demand.requirement, jobs, demand.failed_on.union(barred, self._fleet.outdated))
            for demand, barred, jobs in grouped
        ]
        placed = []
        answers_of_runs = self._index.place(runs) if runs else []
        for run, (_, kept, _), answers in zip(runs, grouped, answers_of_runs, strict=True):
            for job, place in zip(run.jobs, answers, strict=True):
                if place is Unplaced.FULL:
                    self._note_refused(state, job.class_name, kept)
                elif place is Unplaced.OLDER_ATTEMPT:
                    state.delayed.add(job.class_name)
                else:
                    worker = self._fleet.workers.get(place.worker)
                    placed.append(Placed(job, run.requirement.workflow, place, worker))
        point("dispatch.placed")
        return placed

    def _note_refused(self, state: DispatchState, name: str, kept: Collection[WorkerId]) -> None:
        """Note a class as full, and with it those of its kind that ask for no less and avoid no fewer workers.

        Beyond so many amounts of memory classes share sets, and the index cannot tell one from another.
        """
        refused = state.demands[name]
        least = least_mb(refused.requirement)
        alike = {
            other
            for other in state.of_kind(self._kind)[self._kind(name)]
            if least_mb(state.demands[other].requirement) >= least and state.demands[other].avoided >= refused.avoided
        }
        state.full |= alike
        state.refused |= alike
        if kept:
            state.kept_from |= alike

    def _note(self, state: DispatchState, sweep: bool) -> None:
        held = state.held.reasons(self._classes)
        reasons = {**dict.fromkeys(state.delayed - state.full, OLDER_ATTEMPT), **state.reasons, **held}
        demands = {**self._classes, **state.demands}
        self._unschedulable.step(demands, state.full.union(state.delayed, held), reasons)
        if sweep:
            now = self._now()
            self._served = {kin: at for kin, at in self._served.items() if now < at + SERVED_S}
            self._kinds = {name: kind for name, kind in self._kinds.items() if name in self._classes}

    def _unserved_s(self, queue: Queue) -> float:
        return self._now() - self._served.get(self._kin(queue), self._began)

    def _kin(self, queue: Queue) -> Kin:
        """What ages together: a failure, or a little more memory, makes no new queue of what was served."""
        return self._kind(queue.class_name), queue.priority, queue.owner

    def _kind(self, class_name: str) -> Requirement:
        """What the jobs of a class demand but for what tells it from its kind: exclusions, failures, some memory."""
        if class_name not in self._kinds:
            demand = self._classes[class_name].requirement
            self._kinds[class_name] = level_of(replace(demand, exclude_workers=(), above_vram_mb=None))
        return self._kinds[class_name]


def _as_it_stands(
    waiting_class: WaitingClass,
    soften: Callable[[Requirement, frozenset[WorkerId]], tuple[Requirement, frozenset[WorkerId]]],
) -> WaitingClass:
    """The class without those wishes of its failures that nobody could satisfy now."""
    if not waiting_class.failed_on and waiting_class.requirement.above_vram_mb is None:
        return waiting_class
    requirement, failed_on = soften(waiting_class.requirement, waiting_class.failed_on)
    return replace(waiting_class, requirement=requirement, failed_on=failed_on)
