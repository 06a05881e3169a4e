"""Health: what the pool believes of each worker, from its beats and from its own word.

Each transition is written once, by a statement that compares what it was; what follows from it
(taking back or away) is done by whoever wrote it, and again by reconcile should that one die.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from app.coordinator.failover import Failover
from app.coordinator.fleet import Fleet
from app.coordinator.judge import Sight, Verdict, clock_step, first_sight, judge, seen
from app.coordinator.stores import Stores
from app.ledger import events, jobs, workers
from app.pool.faults import point
from app.pool.live import Look
from app.pool.model import Health, Worker, WorkerId
from app.pool.protocol import Beat, Report
from app.pool.status import worker_status

log = logging.getLogger(__name__)

GOODBYE = "said good-bye"


class HealthJudge:
    """One leader's eyes: begins anew with each term. `drain` applies a worker's reports to the end."""

    def __init__(
        self, stores: Stores, fleet: Fleet, failover: Failover, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = stores.ledger
        self._live = stores.live
        self._fleet = fleet
        self._failover = failover
        self._now = now
        self._sights: dict[WorkerId, Sight] = {}
        self._clock = 0.0
        self._looked_at = now()
        self.joining = False  # a healthy worker has not been heard of yet: one that joined beats within moments
        self.drain: Callable[[set[WorkerId]], object] = lambda _: None

    def begin(self) -> None:
        """A new term, or a new generation of Redis: nobody has been silent yet."""
        self._sights.clear()
        self._looked_at = self._now()

    def look(self) -> Look:
        """Read all beats. Raises redis' errors: then nothing is judged, and the time does not count as silence."""
        look = self._live.look(list(self._fleet.workers))
        self._tick()
        return look

    def judge(self, look: Look) -> set[WorkerId]:
        """Judge by this look; returns the workers whose rooms may have changed."""
        for beat in look.beats.values():
            self._know(beat)
        changed = {worker.id for worker in list(self._fleet.workers.values()) if self._see(worker, look.beats)}
        fleet = self._fleet.workers.values()
        self.joining = any(w.health is Health.HEALTHY and self._sights[w.id].seq < 0 for w in fleet)
        verdicts = [(worker, self._judged(worker)) for worker in fleet]
        for worker, verdict in verdicts:
            if verdict is not None and self._still(worker, verdict):
                self.change(worker, verdict)
                changed.add(worker.id)
        return changed

    def change(self, worker: Worker, verdict: Verdict) -> bool:
        """Write a change of health and do what follows; False when somebody else had moved it."""
        status = worker_status(replace(worker, health=verdict.to))
        with self._ledger.transaction() as tx:
            if not workers.set_health(tx, worker, verdict.to, verdict.cause, status):
                return False
            sentence = f"{worker.name} is {verdict.to}: {verdict.cause}"
            events.record(tx, f"worker.{verdict.to}", sentence, worker=worker.id)
        log.warning("health: worker=%s %s -> %s cause=%s", worker.id, worker.health, verdict.to, verdict.cause)
        self._fleet.set_health(worker.id, verdict.to, verdict.cause)
        point("health.changed")
        self._follow(worker, verdict)
        return True

    def left(self, report: Report) -> None:
        """Its good-bye: every end has been reported before it; what is held nevertheless has no process left."""
        worker = self._fleet.workers.get(report.worker)
        if worker and worker.incarnation == report.incarnation and worker.health is not Health.LEFT:
            self.change(worker, Verdict(Health.LEFT, GOODBYE))

    def is_beating(self, worker: WorkerId) -> bool:
        """Whether its key was there at the last look."""
        sight = self._sights.get(worker)
        return sight is not None and sight.beating

    def _still(self, worker: Worker, verdict: Verdict) -> bool:
        """Whether the verdict holds when all that the worker has reported is applied, perhaps its good-bye."""
        if verdict.to is not Health.HEALTHY:
            self.drain({worker.id})  # a result that has arrived is never thrown away
        return self._fleet.workers[worker.id].health is worker.health

    def _tick(self) -> None:
        now = self._now()
        self._clock += clock_step(now - self._looked_at, self._fleet.policy.heartbeat_interval_s)
        self._looked_at = now

    def _know(self, beat: Beat) -> None:
        """A beat of a higher incarnation than we know was confirmed meanwhile: the bell was lost."""
        worker = self._fleet.workers.get(beat.worker)
        if worker is not None and beat.incarnation > worker.incarnation:
            self._fleet.reload()

    def _see(self, worker: Worker, beats: dict[WorkerId, Beat]) -> bool:
        """Take the look's beat of this worker; True when something about it is new."""
        sight = self._sights.get(worker.id)
        if sight is None or sight.incarnation != worker.incarnation:
            sight = first_sight(worker.incarnation, self._clock, self._fleet.policy.clocks)
        beat = beats.get(worker.id)
        mine = beat is not None and self._fleet.heard(beat)  # an older incarnation's is no sign of life
        if not mine:
            self._fleet.beats.pop(worker.id, None)
        before = self._sights.get(worker.id)
        self._sights[worker.id] = after = seen(sight, beat if mine else None, self._clock)
        return after.fresh or before is None or before.beating != after.beating

    def _judged(self, worker: Worker) -> Verdict | None:
        return judge(worker.health, self._sights[worker.id], self._clock)

    def _follow(self, worker: Worker, verdict: Verdict) -> None:
        if verdict.to is Health.DEGRADED:
            self._failover.take_back_all(worker.id, verdict.cause)
        elif verdict.to is Health.DOWN:
            self._failover.take_from_down(jobs.held(self._ledger, worker.id), verdict.cause)
        elif verdict.to is Health.LEFT:
            self._failover.take_away_all(worker.id, verdict.cause)
