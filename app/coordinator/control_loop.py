"""The leader's one loop: apply reports, judge health, reconcile, dispatch; in turn, in one thread.

Nothing else decides, so nothing races with it but the world. Hints say where to look first; what is
due by time is looked at whole.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

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
from app.coordinator.hints import Hint
from app.coordinator.placement.dispatch import Dispatch
from app.coordinator.placement.index import Eligible
from app.coordinator.placement.rebalance import Queued
from app.coordinator.recovery.reconcile import Reconcile
from app.coordinator.stores import Stores
from app.ledger import blocks, waiting
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
        leases, envelopes = Leases(stores), Envelopes(stores.rq)
        self._failover = Failover(stores, self.fleet, leases, envelopes)
        self.health = HealthMonitor(stores, self.fleet, self._failover, self.presence, now)
        self._eligible = Eligible(stores, self.fleet)
        self._reports = Reports(stores, self.fleet, leases, self.health.hear)
        self.health.drain = self._reports.apply
        wanted, compared = Batches(RECONCILE_S, WHOLE_S), Batches(RECONCILE_S, WHOLE_S)
        self._streams = Batches(SWEEP_S, QUIET_S)
        self._turns = (wanted, compared, self._streams)
        self._reconcile = Reconcile(
            stores, self.fleet, self._failover, self.health, leases, envelopes, now, turns=compared
        )
        self._dispatch = Dispatch(stores, self.fleet, self._eligible, leases, envelopes, now)
        self._queued = Queued(stores, self.fleet, self._failover, envelopes, now)
        self._wanted = DirectivesWriter(stores, self.fleet, wanted)
        self._notes = Sampling(stores, self.fleet, self.health)
        self._generation: str | None = None
        self._policy = self.fleet.policy
        self._again = False  # reconcile waits for a newer beat
        self._losses: list[Loss] = []  # that health has not heard of: each is said once, and a store may fail
        self._done: dict[str, float] = {}

    def step(self, hint: Hint) -> None:
        """Decide all that is due or hinted at. Raises what the stores raise: the next step looks at everything."""
        if hint.everything:
            self._start_over()
        whole = hint.everything or hint.fleet or not self.fleet.workers or self._is_due("reconcile", self._reconcile_s)
        if whole:
            self._reload()
        sweep = whole or self._is_due("sweep", self._sweep_s)
        self._losses += self.presence.losses()
        news = self._reports.apply(self._reporting(hint, sweep))
        self._again |= self._reports.refused
        for job in hint.cancelled:
            self._reconcile.cancelled(job)
        if not self._leads():
            return  # frozen in the middle of a step and thawed: what we know is old
        anew = self._is_barred(sweep)
        if sweep or hint.beats or self._losses or self._is_due("look", self._look_s()):
            news |= self._look()
            anew |= self.health.anew
        if anew:
            whole = True
            self._reload()
        if whole and self._leads():
            self._reconcile_all()
        if sweep:
            waiting.due(self._stores.ledger)
        if sweep or news or hint.jobs:
            self._dispatch_all(sweep)
        self._notes.step()

    def period_s(self, events: bool) -> float:
        """How long the loop may wait for a hint."""
        return min(self._sweep_s if events else 0.2, self._look_s())

    @property
    def _reconcile_s(self) -> float:
        return AGAIN_S if self._again else max(RECONCILE_S, self._sweep_s)

    def _look_s(self) -> float:
        """Between two looks; where they are slowed, what is about to be decided is not."""
        if self._sweep_s > SWEEP_S and not self.health.waits:
            return self._sweep_s
        quick = SOON_S if self.health.waits else SWEEP_S
        return min(quick, self.fleet.policy.heartbeat_interval_s / 10)

    def _reporting(self, hint: Hint, sweep: bool) -> set[WorkerId]:
        """Whose streams are to be read: those hinted at; in a sweep all that have attempts, quiet ones in turns."""
        named = hint.reports & self.fleet.workers.keys()
        if not sweep:
            return named
        lively = {worker for worker, beat in self.fleet.beats.items() if beat.attempts or beat.leaving}
        return named | lively | set(self._streams.next(self.fleet.workers))

    def _start_over(self) -> None:
        """Nobody's turn was before: everything is compared with everything."""
        for turns in self._turns:
            turns.restart()

    def _is_barred(self, sweep: bool) -> bool:
        """Whether a worker was barred from something, or takes again what it did not because the time is over."""
        over = sweep and blocks.over(self._stores.ledger) + pauses.over(self._stores.ledger) > 0
        barred, self._reports.barred = self._reports.barred, False
        return over or barred

    def _reload(self) -> None:
        self.fleet.reload()
        if self.fleet.policy != self._policy:
            self._policy = self.fleet.policy
            self._start_over()
        self.presence.watch(worker for worker in self.fleet.workers.values() if worker.health is not Health.LEFT)
        self._wanted.write()

    def _look(self) -> bool:
        """Judge health; True when who may be given jobs has changed."""
        look = self.health.look()
        if look.generation is None or look.generation != self._generation:
            self._begin_generation(look.generation)
        self.health.suspect(self._losses)
        self._losses = []
        changed = self.health.judge(look)
        self._eligible.refresh(changed)
        return bool(changed)

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
        self._wanted.write()
        self._done.clear()

    def _reconcile_all(self) -> None:
        point("reconcile.begun")
        self._again = self._reconcile.step()
        self._done["reconcile"] = self._now()
        self._eligible.rebuild(whole=self._is_due("whole", WHOLE_S))
        waiting.forget_classes(self._stores.ledger)

    def _dispatch_all(self, sweep: bool) -> None:
        other = self._dispatch.step(sweep)
        if sweep and self._queued.step(self._dispatch.kept_workers):
            other |= self._dispatch.step(sweep)
        if other:
            self._done.pop("reconcile", None)  # a worker was other than we knew

    def _is_due(self, name: str, every_s: float) -> bool:
        """Whether so much time has passed since it was last due; the first time it is."""
        # What is kept is when it was, not when it will be: the pace may have quickened since.
        done = self._done.get(name)
        if done is not None and self._now() < done + every_s:
            return False
        self._done[name] = self._now()
        return True
