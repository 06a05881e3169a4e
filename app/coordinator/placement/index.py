"""The index of who could take what: sorted sets of workers with room, and jobs placed by them.

What sets there are, and which of them a demand reads, is planned in the leader's memory (index_plan.py) when a demand
is opened or a worker changes; the scripts keep scores and room. Everything here can be made anew from ledger, leases
and beats: that is what reconcile does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from app.coordinator.batches import Round
from app.coordinator.fleet import Fleet
from app.coordinator.placement import headroom, scoring
from app.coordinator.placement.index_plan import IndexPlan, Membership, OpenDemand, Rules
from app.coordinator.placement.place import Place, Run, Unplaced, argument, placed
from app.coordinator.scripts import script
from app.coordinator.stores import Stores
from app.ledger.waiting import WaitingClass
from app.pool.capacity import takes
from app.pool.model import Requirement, WorkerId

MOST_MEMORIES = 32  # amounts of memory that have sets of their own; further ones share the next lower level's
LEVELS_MB = (0, 1024, 2048, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 81920, 147456)
AT_ONCE = 200  # headrooms in one round trip: others have their turn in between
REBUILDS = 12  # every headroom is written anew within this number of rebuilds, changed or not


def level_of(requirement: Requirement) -> Requirement:
    """A demand like this one, but for no more memory than the highest level that it reaches."""
    return replace(
        requirement,
        min_vram_mb=_level_mb(requirement.min_vram_mb),
        above_vram_mb=_level_mb(requirement.above_vram_mb),
    )


def _level_mb(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else max(level for level in LEVELS_MB if level <= mebibytes)


class Index:
    """The eligible sets, and what was last written of each worker."""

    def __init__(self, stores: Stores, fleet: Fleet) -> None:
        self._redis = stores.redis
        self._keys = stores.keys
        self._fleet = fleet
        self._place = script(stores.redis, "placement/place")
        self._refresh = script(stores.redis, "placement/refresh")
        self._plan = IndexPlan()
        self._means: headroom.Means | None = None
        self._made: dict[WorkerId, tuple[object, str]] = {}  # of what a headroom was made, and its text
        self._written: dict[WorkerId, str] = {}
        self._round = Round()
        self._demands: dict[Requirement, OpenDemand] = {}  # as they were found; some may have been closed since

    def place(self, runs: Sequence[Run]) -> list[list[Place | Unplaced]]:
        """Reserve a worker for each job of each run, in this order.

        Raises RedisError. Not to be repeated then: some jobs may have been placed, which reconcile gives back.
        """
        self._follow()
        demands = [self._demand(run.requirement) for run in runs]
        keys = self._keys
        with self._redis.pipeline(transaction=False) as pipe:
            for run, demand in zip(runs, demands, strict=True):
                order = scoring.order(self._plan.strategy_of(run.requirement))
                run_json = argument(run, self._plan.sources(demand), order)
                self._place(
                    keys=[keys.load, keys.turn],
                    args=[keys.lease_prefix, keys.worker_prefix, keys.eligible_prefix, run_json],
                    client=pipe,
                )
            answers = pipe.execute()
        return [
            placed(answer, self._plan.strategy_of(run.requirement)) for run, answer in zip(runs, answers, strict=True)
        ]

    def with_room(self, classes: Iterable[WaitingClass]) -> set[str]:
        """The names of those of these classes whose jobs somebody has room for now. Raises RedisError."""
        self._follow()
        wanted = [(each, self._demand(each.requirement)) for each in classes]
        sets = [(each, [source.name for source in self._plan.sources(demand)]) for each, demand in wanted]
        reads: dict[str, int] = {}  # once for all classes, deep enough for the one that avoids most workers
        for each, names in sets:
            for name in names:
                reads[name] = max(reads.get(name, 0), 1 + len(each.avoided))
        with self._redis.pipeline(transaction=False) as pipe:
            for name, most in reads.items():
                pipe.zrange(self._keys.eligible(name), 0, most - 1)
            heads = dict(zip(reads, map(frozenset, pipe.execute()), strict=True))
        return {each.name for each, names in sets if any(not heads[name] <= each.avoided for name in names)}

    def refresh(self, workers: Iterable[WorkerId]) -> None:
        """Write the headroom of these workers where it has changed; who is not live is taken out.

        Raises RedisError, and may be repeated.
        """
        self._follow()
        self._renew(workers)

    def rebuild(self, whole: bool) -> None:
        """Write the headrooms that changed and a share of the others, or all; take out what belongs to no worker.

        Raises RedisError, and may be repeated.
        """
        self._means = None
        self._demands.clear()
        self._write({worker: self._headroom(worker) for worker in self._strangers()})
        self._plan.close_unused()
        self._plan.narrow()
        self._plan.follow(self._rules())
        self._forget(whole)
        self._renew(self._fleet.workers)
        if whole:
            self._sweep()

    def _rules(self) -> Rules:
        policy = self._fleet.policy
        return Rules(policy.strategy, dict(self._fleet.strategies), policy.prefer_weight)

    def _follow(self) -> None:
        """Have every score written anew when people have changed how workers are chosen."""
        if self._plan.follow(self._rules()):
            self._renew(self._fleet.workers)

    def _demand(self, requirement: Requirement) -> OpenDemand:
        """The open demand by whose sets jobs with this requirement are placed; it has sets when this returns.

        Beyond MOST_MEMORIES different amounts it is one that asks for less, and the script has to look closer.
        """
        demand = self._demands.get(requirement)
        if demand is None:
            demand = self._demands[requirement] = self._opened(replace(requirement, exclude_workers=()))
        self._plan.use(demand)
        return demand

    def _opened(self, requirement: Requirement) -> OpenDemand:
        found = self._plan.find(requirement)
        if found is None and self._is_one_too_many(requirement):
            requirement = level_of(requirement)
            found = self._plan.find(requirement)
        if found is None:
            self._renew(self._plan.open(requirement))
            found = self._plan.find(requirement)
        assert found is not None
        return found

    def _is_one_too_many(self, requirement: Requirement) -> bool:
        return self._plan.memories >= MOST_MEMORIES and not self._plan.has_memory(requirement)

    def _renew(self, workers: Iterable[WorkerId]) -> None:
        texts = {worker: self._headroom(worker) for worker in workers}
        self._write({worker: text for worker, text in texts.items() if self._written.get(worker) != text})

    def _headroom(self, worker_id: WorkerId) -> str:
        """The worker's headroom as JSON; '' when it is not live."""
        worker, beat = self._fleet.workers.get(worker_id), self._fleet.beats.get(worker_id)
        if worker is None or beat is None or not self._fleet.is_live(worker):
            self._plan.drop(worker_id)
            self._made.pop(worker_id, None)
            return ""
        sets: tuple[Membership, ...] = ()
        if takes(worker, beat):
            sets = self._plan.take(worker)
        else:
            self._plan.drop(worker_id)
        facts = (worker, beat, sets, self._fleet.policy, self._mean())
        if worker_id not in self._made or self._made[worker_id][0] != facts:
            self._made[worker_id] = facts, headroom.headroom(*facts)
        return self._made[worker_id][1]

    def _mean(self) -> headroom.Means:
        """Of the figures at the last rebuild: a moment old is good enough, and asking ten thousand takes one."""
        if self._means is None:
            self._means = headroom.means(self._fleet.workers, self._fleet.beats.values())
        return self._means

    def _write(self, changed: Mapping[WorkerId, str]) -> None:
        keys, left = self._keys, iter(changed.items())
        while portion := dict(islice(left, AT_ONCE)):
            with self._redis.pipeline(transaction=False) as pipe:
                for worker, text in portion.items():
                    self._refresh(
                        keys=[keys.lease(worker), keys.worker(worker), keys.load],
                        args=[worker, keys.eligible_prefix, text],
                        client=pipe,
                    )
                pipe.execute()
            self._written.update(portion)  # only now: what did not get through is written again

    def _forget(self, whole: bool) -> None:
        """A stale leader may have written after we did: in turn each headroom is written anew, or all at once."""
        if whole or self._round.over:
            self._round.begin(self._written)
        share = len(self._written) if whole else math.ceil(len(self._written) / REBUILDS)
        for worker in self._round.next(self._written, share):
            del self._written[worker]

    def _strangers(self) -> list[WorkerId]:
        return [WorkerId(w) for w in self._redis.zrange(self._keys.load, 0, -1) if w not in self._fleet.workers]

    def _sweep(self) -> None:
        """Remove sets that no plan of ours names: an older leader's, after every headroom was written by ours."""
        ours = {self._keys.eligible(name) for name in self._plan.names()}
        left = [key for key in self._redis.scan_iter(self._keys.eligible("*"), 1000) if key not in ours]
        if left:
            self._redis.delete(*left)
