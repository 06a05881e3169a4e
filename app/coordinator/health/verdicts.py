"""Verdicts: what the pool believes of each worker, by its beats, its presence and its own word.

Each change is written once, by a statement that compares what was; what follows from it (attempts are
taken back or away) is done by whoever wrote it, and again by reconcile should that one die.

Before a worker is given up on, all that it has reported is applied, so that a result which has arrived is
never thrown away. Its good-bye may be among the reports: then it has left, and the verdict is void.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from app.coordinator.attempts.reports import Reports
from app.coordinator.attempts.revoke import Certainty, Failover
from app.coordinator.fleet import LIVE, Fleet
from app.coordinator.health import incident
from app.coordinator.health.calls import Life, LossKind, life_of
from app.coordinator.health.failure_detector import Sight, Verdict, judge, takes_nothing
from app.coordinator.health.presence import Loss, Presence
from app.coordinator.health.sightings import Sightings
from app.coordinator.stores import Stores
from app.ledger import open_attempts
from app.ledger.registry import workers
from app.pool.faults import point
from app.pool.live import BeatReading
from app.pool.model import Degraded, Health, Worker, WorkerId
from app.pool.protocol import Beat, Cause, Report
from app.pool.status import down_words, worker_status

log = logging.getLogger(__name__)

GOODBYE = "said good-bye"
LAST_WORDS_S = 1.0  # a beat that was under way when its worker died does not revive it
LEAST_APART = 0.9  # of an interval, two beats
NEWER_S = 1.0  # seconds for a newer beat after a lost presence, or a tenth of the interval if longer


@dataclass(frozen=True)
class Judgement:
    """The result of judging one look."""

    changed: frozenset[WorkerId]  # workers whose headroom or right to jobs may have changed
    joined: bool  # a worker has joined anew, though no bell said so
    undecided: bool  # look again soon: something will be decided within moments


class HealthMonitor:
    """One leader's belief; a new term begins with what the ledger says."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        reports: Reports,
        failover: Failover,
        presence: Presence,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = stores.ledger
        self._fleet = fleet
        self._reports = reports
        self._failover = failover
        self._presence = presence
        self._now = now
        self.sightings = Sightings(stores, fleet, now)
        self._judged_as: dict[WorkerId, Worker] = {}
        self._suspected: dict[WorkerId, Loss] = {}
        self._proven: set[Life] = set()  # dead by proof
        self._died_at: dict[WorkerId, float] = {}
        self._owing: set[WorkerId] = set()  # down, and strict attempts may still run there

    def begin(self) -> None:
        """A new term, or a new generation of Redis: nobody has been silent yet, and nobody is suspected."""
        self.sightings.begin()
        self._suspected.clear()

    def suspect(self, losses: Iterable[Loss]) -> None:
        """Remember that these workers are no longer present, until it is settled what became of them."""
        self._suspected.update({loss.worker: loss for loss in losses})

    def judge(self, look: BeatReading) -> Judgement:
        """Judge by this look and by who is suspected. Raises RedisError, Unavailable; may be called again."""
        joined = any(self._has_joined(look.beats[worker]) for worker in look.fresh)
        changed = self._changed()
        seen = self.sightings.take(look, changed)
        doubtful = [self._fleet.workers[worker] for worker in seen.doubtful]
        verdicts = [(worker, self._verdict(worker)) for worker in doubtful]
        changed |= seen.new | {worker.id for worker, verdict in verdicts if verdict and self._settle(worker, verdict)}
        changed |= self._settle_losses()
        self._settle_strict()
        self._judged_as = dict(self._fleet.workers)
        return Judgement(frozenset(changed), joined, self._is_undecided())

    def hear(self, report: Report) -> None:
        """Take what a worker says of itself: that it leaves, or that its newest beat is no longer true.

        Raises Unavailable, and RedisError where attempts are taken; may be called again with the same report.
        """
        worker = self._fleet.workers.get(report.worker)
        if worker is None or worker.incarnation != report.incarnation:
            return
        if report.kind == "goodbye" and worker.health is not Health.LEFT:
            # Every end has been reported before it; what is held nevertheless has no process left.
            self.change(worker, Verdict(Health.LEFT, GOODBYE))
        elif report.kind == "end" and self._outdates(report) and (sight := self.sightings.of(worker.id)):
            self._fleet.distrust(worker.id, sight.incarnation, sight.seq)

    def takes_nothing(self, worker: Worker, why: str) -> None:
        """Degrade a worker whose slots let an envelope lie, until they take it, though it beats.

        Raises RedisError, Unavailable; may be called again.
        """
        self._settle(worker, Verdict(Health.DEGRADED, f"does not take: {why}", degraded_as=Degraded.TAKES_NOTHING))

    def takes_again(self, worker: Worker) -> None:
        """Make a worker healthy again whose slots have taken what lay in its queue. Raises Unavailable."""
        self._settle(worker, Verdict(Health.HEALTHY, "its slots take again"))

    def certainty(self, worker: Worker) -> Certainty:
        """What is known of the attempts of a worker that is down."""
        return Certainty(
            dead=life_of(worker) in self._proven,
            silenced=self.sightings.is_silenced(worker.id),
            leaving=self.sightings.was_leaving(worker.id, worker.incarnation),
        )

    def change(self, worker: Worker, verdict: Verdict) -> bool:
        """Write a change of health and do what follows; False when somebody else had moved it.

        Raises Unavailable before or after the change is written, RedisError after: reconcile does then what follows.
        """
        status = worker_status(replace(worker, health=verdict.to))
        with self._ledger.transaction() as tx:
            if not workers.set_health(tx, worker, verdict.to, verdict.reason, status, verdict.degraded_as):
                return False
            if verdict.to is Health.DOWN:
                reached, silence_s = self._presence.reached(worker), self.sightings.silence_s(worker.id)
                beat = self.sightings.newest(worker.id)
                incident.begin(tx, worker, beat, verdict.reason, silence_s, proven=verdict.proven, reached=reached)
        log.warning("health: worker=%s %s -> %s cause=%s", worker.id, worker.health, verdict.to, verdict.reason)
        self._fleet.set_health(worker.id, verdict.to, verdict.reason, verdict.degraded_as)
        point("health.changed")
        self._follow(worker, verdict)
        return True

    def _follow(self, worker: Worker, verdict: Verdict) -> None:
        if verdict.to is Health.HEALTHY:
            self._proven.discard(life_of(worker))
        elif verdict.to is Health.DEGRADED:
            self._presence.call(worker)  # the answer tells a host that is silent from a Redis out of its reach
            leave = verdict.degraded_as is Degraded.TAKES_NOTHING
            self._failover.take_back_all(worker.id, verdict.reason, leave=leave)
        elif verdict.to is Health.DOWN:
            self._fall(worker, verdict)
        elif verdict.to is Health.LEFT:
            self._failover.take_away_all(worker.id, verdict.reason)

    def _fall(self, worker: Worker, verdict: Verdict) -> None:
        if verdict.proven:
            self._proven.add(life_of(worker))
            self._died_at[worker.id] = self._now()
        held = open_attempts.held(self._ledger, worker.id)
        if any(attempt.strict for attempt in held):
            self._owing.add(worker.id)
        self._failover.take_from_down(held, verdict.reason, self.certainty(worker))

    def _settle(self, worker: Worker, verdict: Verdict) -> bool:
        """Change its health, if the verdict still holds once all that the worker has reported is applied."""
        if verdict.to is not Health.HEALTHY:
            self._reports.apply({worker.id}, self.hear)
        return self._fleet.workers[worker.id].health is worker.health and self.change(worker, verdict)

    def _has_joined(self, beat: Beat) -> bool:
        """True for a beat of a higher incarnation than is known: the bell of its join was lost."""
        worker = self._fleet.workers.get(beat.worker)
        if worker is None or beat.incarnation <= worker.incarnation:
            return False
        self._fleet.reload()
        return True

    def _changed(self) -> set[WorkerId]:
        """The workers that have changed since they were last judged, by whomever."""
        judged = self._judged_as
        return {id_ for id_, worker in self._fleet.workers.items() if judged.get(id_) is not worker}

    def _verdict(self, worker: Worker) -> Verdict | None:
        sight = self.sightings.of(worker.id)
        if sight is None or (takes_nothing(worker) and sight.beating):
            return None  # reconcile sees when it has taken something
        if self._now() < self._died_at.get(worker.id, 0.0) + LAST_WORDS_S:
            return None
        return judge(worker.health, sight, self.sightings.now())

    def _settle_losses(self) -> set[WorkerId]:
        """Fast failover: proof at once, silence on the line when no newer beat comes. Returns whose health changed."""
        if not self._fleet.policy.fast_failover:
            self._suspected.clear()
            return set()
        changed = set()
        for loss in [loss for loss in self._suspected.values() if self._is_due(loss)]:
            worker = self._fleet.workers.get(loss.worker)
            if worker and self._is_gone(worker, loss):
                verdict = Verdict(Health.DOWN, loss.why, proven=loss.kind is LossKind.DEAD)
                changed |= {worker.id} if self._settle(worker, verdict) else set()
            del self._suspected[loss.worker]  # last, as a store may fail: a loss is announced only once
        return changed

    def _is_due(self, loss: Loss) -> bool:
        sight = self.sightings.of(loss.worker)
        newer_s = max(NEWER_S, sight.interval_s / 10 if sight else 0.0)
        return loss.kind is LossKind.DEAD or self._now() >= loss.at + newer_s

    def _is_gone(self, worker: Worker, loss: Loss) -> bool:
        sight = self.sightings.of(worker.id)
        if worker.incarnation != loss.incarnation or worker.health not in LIVE or sight is None:
            return False
        return loss.kind is LossKind.DEAD or not (sight.seq > loss.seq or self._presence.listens(worker))

    def _settle_strict(self) -> None:
        """Take strict attempts from workers that are down, once their silence proves that these have ended."""
        down = {worker.id: worker for worker in self._fleet.workers.values() if worker.health is Health.DOWN}
        self._proven &= {life_of(worker) for worker in down.values()}
        self._owing &= down.keys()
        for id_ in [id_ for id_ in self._owing if self.sightings.is_silenced(id_)]:
            worker = down[id_]
            self._failover.take_from_down(
                open_attempts.held(self._ledger, id_), down_words(worker), self.certainty(worker)
            )
            self._owing.discard(id_)

    def _outdates(self, end: Report) -> bool:
        """True for an end by which the worker's newest beat is no longer true."""
        if end.cause == Cause.NO_ROOM:
            return True  # by its figures the attempt was placed there, and would be again
        return end.cause == Cause.SLOT or (end.cause == Cause.DEADLINE and self._is_late(end.worker))

    def _is_late(self, worker: WorkerId) -> bool:
        """True when a beat is overdue; where none is, what was said of its beats is old."""
        sight = self.sightings.of(worker)
        return sight is not None and self.sightings.silence_s(worker) >= LEAST_APART * sight.interval_s

    def _is_undecided(self) -> bool:
        return bool(self._suspected or self._owing) or any(_is_unsure(*dark) for dark in self.sightings.dark())


def _is_unsure(worker: Worker, sight: Sight) -> bool:
    """True where the next beat, or its absence, decides within moments: it has joined, or its key is gone."""
    return (worker.health is Health.HEALTHY and sight.seq < 0) or (worker.health in LIVE and sight.undecided)
