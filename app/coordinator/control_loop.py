"""The leader's one loop: apply reports, judge health, reconcile, dispatch; in turn, in one thread.

Nothing else decides, so nothing races with it but the world. The order of a step:

1. The fleet is read again where it may have changed, since all that follows depends on it.
2. Reports are applied before anything is judged or taken: a result that has arrived is never thrown away.
3. Cancelled jobs are ended where they are: by then their own ends, if they came first, have been applied.
4. The loop asks here whether this process still leads. The steps before change nothing by what it knows, those
   after do, and a process that was frozen and thawed knows an old world.
5. Health is judged. It takes attempts from workers that it gives up on, so this comes before placing.
6. Reconcile compares what ledger, leases, envelopes and beats say; it needs the health that was just judged,
   and writes the scores by which jobs are placed.
7. Jobs are placed, last: by then slots are free and jobs pending by all that came before.

Hints say where to look first. What is due by time is looked at with or without a hint.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from enum import Flag, auto

from app.coordinator.attempts.envelopes import Envelopes
from app.coordinator.attempts.leases import Leases
from app.coordinator.attempts.reports import Reports
from app.coordinator.attempts.revoke import Failover
from app.coordinator.batches import Batches
from app.coordinator.fleet import Fleet
from app.coordinator.health.directives import DirectivesWriter
from app.coordinator.health.presence import Loss, Presence
from app.coordinator.health.sampling import Sampling
from app.coordinator.health.verdicts import HealthMonitor
from app.coordinator.hints import BLIND_S, Hint
from app.coordinator.placement.dispatch import Dispatch
from app.coordinator.placement.held import Withhold
from app.coordinator.placement.index import Index
from app.coordinator.placement.rebalance import Rebalance
from app.coordinator.recovery.reconcile import Reconcile
from app.coordinator.stores import Stores
from app.ledger import blocks, holds, waiting
from app.ledger.registry import pauses
from app.pool.faults import point
from app.pool.model import Health, WorkerId

log = logging.getLogger(__name__)

SWEEP_S = 1.0
RECONCILE_S = 5.0
SOON_S = 0.2  # where something is about to be decided: a worker joined, a beat expired, a presence was lost
AGAIN_S = 1.0  # where reconcile waits for a newer beat
WHOLE_S = 60.0  # every score is written anew, changed or not; each worker of a large fleet is compared within it
QUIET_S = 10.0  # within which the streams are read of all that have nothing to report


class Due(Flag):
    """What a step has to do beside applying the reports that hints named."""

    FLEET = auto()  # read workers and policy anew, and reconcile
    SWEEP = auto()  # read the streams of all that may have something to report, end blocks and pauses that are over
    LOOK = auto()  # read all beats, and judge health
    DISPATCH = auto()  # place waiting jobs
    SCORES = auto()  # with reconcile: write every score anew


NOTHING = Due(0)
SWEEPING = Due.SWEEP | Due.LOOK | Due.DISPATCH
EVERYTHING = Due.FLEET | SWEEPING


class ControlLoop:
    """One term of leading. A new term is a new ControlLoop: nothing is remembered from an old one."""

    def __init__(
        self,
        stores: Stores,
        now: Callable[[], float] = time.monotonic,
        leads: Callable[[], bool] = lambda: True,
        presence: Presence | None = None,
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._leads = leads
        self._stores = stores
        self._now = now
        self._sweep_s = sweep_s
        self.presence = presence or Presence(stores, now=now)
        self.fleet = Fleet(stores)
        directed, compared = Batches(RECONCILE_S, WHOLE_S), Batches(RECONCILE_S, WHOLE_S)
        self._streams = Batches(SWEEP_S, QUIET_S)
        self._batches = (directed, compared, self._streams)
        leases, envelopes = Leases(stores), Envelopes(stores.rq)
        failover = Failover(stores, self.fleet, leases, envelopes)
        self._reports = Reports(stores, self.fleet, leases)
        self.health = HealthMonitor(stores, self.fleet, self._reports, failover, self.presence, now)
        self._directives = DirectivesWriter(stores, self.fleet, directed)
        self._sampling = Sampling(stores, self.fleet, self.health.sightings, now)
        self._reconcile = Reconcile(stores, self.fleet, failover, self.health, leases, envelopes, now, batches=compared)
        self._index = Index(stores, self.fleet)
        self._dispatch = Dispatch(stores, self.fleet, self._index, leases, envelopes, now)
        self._withhold = Withhold(stores.ledger, failover)
        self._rebalance = Rebalance(stores, self.fleet, failover, envelopes, now)
        self._generation: str | None = None
        self._policy = self.fleet.policy
        self.undecided = False  # health will decide something within moments
        self._waits_for_beats = False  # reconcile is to look again soon
        self._losses: list[Loss] = []  # that health has not heard of: each is said once, and a store may fail
        self._done: dict[Due, float] = {}  # when each was last done because its time had come

    def step(self, hint: Hint) -> None:
        """Do all that is due or hinted at. Raises RedisError, Unavailable: the next step is to look at everything."""
        if hint.everything:
            self._start_over()
        due = self._due(hint)
        if Due.FLEET in due:
            self._reload()
        self._reports.apply(self._reporting(hint, due), self.health.hear)
        for job in hint.cancelled:
            self._reconcile.cancelled(job)
        if not self._leads():
            return  # frozen in the middle of a step and thawed: what we know is old
        found = self._judge(due)
        if Due.FLEET in found:
            self._reload()
        due |= found
        if Due.FLEET in due and self._leads():
            self._reconcile_all()
        if Due.SWEEP in due:
            waiting.due(self._stores.ledger)
        if Due.DISPATCH in due:
            self._dispatch_all(Due.SWEEP in due)
        self._sampling.step()

    def ask_presence(self) -> None:
        """Ask who listens; for a thread of its own."""
        if self.presence.step():
            self.health.sightings.tick()

    def period_s(self, events: bool) -> float:
        """How long the loop may wait for a hint; `events`: whether Redis sends keyspace events."""
        return min(self._sweep_s if events else BLIND_S, self._look_s())

    def _due(self, hint: Hint) -> Due:
        self._losses += self.presence.losses()
        asked = hint.everything or hint.fleet or not self.fleet.workers
        if asked or self._is_time(Due.FLEET, self._reconcile_s):
            return EVERYTHING
        if self._is_time(Due.SWEEP, self._sweep_s):
            return SWEEPING
        looks = hint.beats or self._losses or self._is_time(Due.LOOK, self._look_s())
        return (Due.LOOK if looks else NOTHING) | (Due.DISPATCH if hint.jobs else NOTHING)

    def _is_time(self, what: Due, every_s: float) -> bool:
        """True when `every_s` have passed since its time had last come, and the first time."""
        # What is kept is when it was, not when it will be: the pace may have quickened since.
        done = self._done.get(what)
        if done is not None and self._now() < done + every_s:
            return False
        self._done[what] = self._now()
        return True

    @property
    def _reconcile_s(self) -> float:
        return AGAIN_S if self._waits_for_beats else max(RECONCILE_S, self._sweep_s)

    def _look_s(self) -> float:
        """Between two looks; where they are slowed, what is about to be decided is not."""
        if self._sweep_s > SWEEP_S and not self.undecided:
            return self._sweep_s
        quick = SOON_S if self.undecided else SWEEP_S
        return min(quick, self.fleet.policy.heartbeat_interval_s / 10)

    def _reporting(self, hint: Hint, due: Due) -> set[WorkerId]:
        """Whose streams are to be read: those hinted at; in a sweep all that have attempts, and a batch of the rest."""
        named = hint.reports & self.fleet.workers.keys()
        if Due.SWEEP not in due:
            return named
        lively = {worker for worker, beat in self.fleet.beats.items() if beat.attempts or beat.leaving}
        return named | lively | set(self._streams.next(self.fleet.workers))

    def _judge(self, due: Due) -> Due:
        """End blocks and pauses that are over, and judge health. Returns what is due by these and by the reports."""
        found = NOTHING
        if Due.SWEEP in due and blocks.over(self._stores.ledger) + pauses.over(self._stores.ledger) > 0:
            found |= Due.FLEET
        if Due.SWEEP in due:
            holds.outlasted(self._stores.ledger)
        if Due.LOOK in due:
            found |= self._look()
        outcome = self._reports.take()  # also of those that were applied before a verdict
        self._waits_for_beats |= outcome.refused
        found |= Due.DISPATCH if outcome.freed else NOTHING
        return found | (Due.FLEET if outcome.barred else NOTHING)

    def _look(self) -> Due:
        look = self.health.sightings.look()
        if look.generation is None or look.generation != self._generation:
            self._begin_generation(look.generation)
        self.health.suspect(self._losses)
        self._losses = []
        judgement = self.health.judge(look)
        self.undecided = judgement.undecided
        self._index.refresh(judgement.changed)
        joined = Due.FLEET if judgement.joined else NOTHING
        return joined | (Due.DISPATCH if judgement.changed else NOTHING)

    def _start_over(self) -> None:
        """Begin every batch again: everything is compared with everything."""
        for batches in self._batches:
            batches.restart()

    def _reload(self) -> None:
        self.fleet.reload()
        if self.fleet.policy != self._policy:
            self._policy = self.fleet.policy
            self._start_over()
        self.presence.watch(worker for worker in self.fleet.workers.values() if worker.health is not Health.LEFT)
        self._directives.write()

    def _begin_generation(self, found: str | None) -> None:
        """Redis forgot something, or a leader begins: nobody was silent yet, and everything is made anew."""
        if found is None:
            made = self._stores.redis.set(self._stores.keys.generation, uuid.uuid4().hex, nx=True)
            found = self._stores.live.generation()
            if made:
                log.warning("generation: Redis is empty or new, made %s", found)
        self._generation = found
        self.health.begin()
        self._start_over()
        self._directives.write()
        self._done.clear()

    def _reconcile_all(self) -> None:
        point("reconcile.begun")
        self._waits_for_beats = self._reconcile.step().soon
        self._done[Due.FLEET] = self._now()
        self._index.rebuild(whole=self._is_time(Due.SCORES, WHOLE_S))
        waiting.forget_classes(self._stores.ledger)

    def _dispatch_all(self, sweep: bool) -> None:
        other = self._dispatch.step(sweep)
        if self._dispatch.knows_holds:
            self._withhold.step()
        if sweep and self._rebalance.step(self._dispatch.kept_workers):
            other |= self._dispatch.step(sweep)
        if other:
            self._done.pop(Due.FLEET, None)  # a worker was other than we knew
