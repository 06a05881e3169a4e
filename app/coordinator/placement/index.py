"""Who could take what: sorted sets of workers with room, and jobs placed by them.

What sets there are, and which of them a class of jobs reads, is planned in the leader's memory (index_plan.py)
when a class is opened or a worker changes; the scripts keep scores and room. Everything here can be made
anew from ledger, leases and beats: that is what reconcile does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from app.coordinator.fleet import Fleet
from app.coordinator.placement import headroom
from app.coordinator.placement.index_plan import Entry, Plan, Rules
from app.coordinator.placement.place import Place, Run, arguments, is_unsure, placed
from app.coordinator.placement.worker_classes import Demand
from app.coordinator.scripts import script
from app.coordinator.stores import Stores
from app.pool.capacity import takes
from app.pool.matching import least_of_class
from app.pool.model import JobId, Requirement, WorkerId

EXACT_MB = 32  # so many different demands for memory have sets of their own; further ones read their bucket's
AT_ONCE = 200  # rooms in one round trip: others have their turn in between
ROUNDS = 12  # of so many rebuilds each writes its share of the rooms anew, changed or not


class Eligible:
    """The open classes and what was last written of each worker."""

    def __init__(self, stores: Stores, fleet: Fleet) -> None:
        self._redis = stores.redis
        self._keys = stores.keys
        self._fleet = fleet
        self._place = script(stores.redis, "placement/place")
        self._refresh = script(stores.redis, "placement/refresh")
        self._plan = Plan()
        self._means: headroom.Means | None = None
        self._made: dict[WorkerId, tuple[object, str]] = {}  # of what a room was made, and its text
        self._written: dict[WorkerId, str] = {}
        self._round = 0
        self._least: dict[str, Demand] = {}  # by class what the least demanding of its jobs asks for
        # Of the last jobs to be placed those that found no room, but might have where they could not look.
        self.unsure: set[JobId] = set()

    def place(self, runs: Sequence[Run]) -> list[list[Place | None]]:
        """Reserve a worker for each want of each run, in this order; None for those that nobody has room for."""
        self._follow()
        asked = [(run, [self._demand(run.of(want), want.above_mb) for want in run.wants]) for run in runs]
        with self._redis.pipeline(transaction=False) as pipe:
            for run, demands in asked:
                self._place(
                    keys=[self._keys.load, self._keys.turn],
                    args=arguments(self._keys, run.wants, [(d, self._plan.parts(d)) for d in demands]),
                    client=pipe,
                )
            answers = pipe.execute()
        told = [list(zip(run.wants, some, strict=True)) for (run, _), some in zip(asked, answers, strict=True)]
        self.unsure = {want.job for some in told for want, answer in some if is_unsure(answer)}
        return [
            [placed(answer, self._plan.strategy_of(demand)) for answer, demand in zip(some, demands, strict=True)]
            for some, (_, demands) in zip(answers, asked, strict=True)
        ]

    def has_room(self, classes: Mapping[str, Requirement]) -> set[str]:
        """Those of these classes of which some job could be given to a worker now."""
        self._follow()
        demands = {name: self._least_of(name, requirement) for name, requirement in classes.items()}
        parts = {name: self._plan.parts(demand) for name, demand in demands.items()}
        with self._redis.pipeline(transaction=False) as pipe:
            for some in filter(None, parts.values()):
                pipe.exists(*(self._keys.eligible(part.name) for part in some))
            answers = iter(pipe.execute())
        return {name for name, some in parts.items() if some and next(answers)}

    def refresh(self, workers: Iterable[WorkerId]) -> None:
        """Write the rooms of these workers where they have changed; who is not live is taken out."""
        self._follow()
        self._renew(workers)

    def rebuild(self, whole: bool) -> None:
        """Write the rooms that changed and a share of the others, or all; take out what belongs to no worker."""
        self._means = None
        self._least.clear()
        self._write({worker: self._room(worker) for worker in self._strangers()})
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

    def _least_of(self, name: str, requirement: Requirement) -> Demand:
        known = self._least.get(name)
        if known is None or not self._plan.is_open(known):
            known = self._least[name] = self._demand(least_of_class(requirement))
        return known

    def _demand(self, requirement: Requirement, above_mb: int = 0) -> Demand:
        """What is placed by; it has sets when this returns. Beyond EXACT_MB the script has to look closer."""
        demand = Demand(replace(requirement, exclude_workers=()), above_mb)
        if not self._plan.is_open(demand) and self._plan.memories(demand) > EXACT_MB:
            demand = Demand(least_of_class(requirement))
        if not self._plan.is_open(demand):
            self._renew(self._plan.open(demand))
        return demand

    def _renew(self, workers: Iterable[WorkerId]) -> None:
        found = {worker: self._room(worker) for worker in workers}
        self._write({worker: text for worker, text in found.items() if self._written.get(worker) != text})

    def _room(self, worker: WorkerId) -> str:
        """Its room as JSON; '' when it is not live."""
        found, beat = self._fleet.workers.get(worker), self._fleet.beats.get(worker)
        if found is None or beat is None or not self._fleet.is_live(found):
            self._plan.drop(worker)
            self._made.pop(worker, None)
            return ""
        entries: tuple[Entry, ...] = ()
        if takes(found, beat):
            entries = self._plan.take(found)
        else:
            self._plan.drop(worker)
        facts = (found, beat, entries, self._fleet.policy, self._mean())
        if worker not in self._made or self._made[worker][0] != facts:
            self._made[worker] = facts, headroom.room(*facts)
        return self._made[worker][1]

    def _mean(self) -> headroom.Means:
        """Of the figures at the last rebuild: a moment old is good enough, and asking ten thousand takes one."""
        if self._means is None:
            self._means = headroom.means(self._fleet.workers, self._fleet.beats.values())
        return self._means

    def _write(self, changed: Mapping[WorkerId, str]) -> None:
        keys, left = self._keys, iter(changed.items())
        while some := dict(islice(left, AT_ONCE)):
            with self._redis.pipeline(transaction=False) as pipe:
                for worker, room in some.items():
                    self._refresh(
                        keys=[keys.lease(worker), keys.worker(worker), keys.load],
                        args=[worker, keys.eligible_prefix, room],
                        client=pipe,
                    )
                pipe.execute()
            self._written.update(some)  # only now: what did not get through is written again

    def _forget(self, whole: bool) -> None:
        """A stale leader may have written after we did: in turn each room is written anew, or all at once."""
        workers = sorted(self._written)
        for worker in workers if whole else workers[self._round :: ROUNDS]:
            del self._written[worker]
        self._round = (self._round + 1) % ROUNDS

    def _strangers(self) -> list[WorkerId]:
        return [WorkerId(w) for w in self._redis.zrange(self._keys.load, 0, -1) if w not in self._fleet.workers]

    def _sweep(self) -> None:
        """Remove sets that no plan of ours names: an older leader's, after every room was written by ours."""
        ours = {self._keys.eligible(name) for name in self._plan.names()}
        left = [key for key in self._redis.scan_iter(self._keys.eligible("*"), 1000) if key not in ours]
        if left:
            self._redis.delete(*left)
