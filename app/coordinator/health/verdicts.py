"""Health: what the pool believes of each worker, from its beats, its presence and its own word.

Each transition is written once, by a statement that compares what it was; what follows from it
(taking back or away) is done by whoever wrote it, and again by reconcile should that one die.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from app.coordinator.attempts.revoke import Failover
from app.coordinator.fleet import LIVE, Fleet
from app.coordinator.health import incident
from app.coordinator.health.failure_detector import (
    Clock,
    Sight,
    Verdict,
    first_sight,
    judge,
    seen,
    takes_nothing,
)
from app.coordinator.health.presence import Loss, LossKind, Presence
from app.coordinator.stores import Stores
from app.ledger import jobs
from app.ledger.registry import workers
from app.pool.faults import point
from app.pool.live import Look, Looks
from app.pool.model import Degraded, Health, Worker, WorkerId
from app.pool.protocol import Beat, Cause, Report
from app.pool.status import down_words, worker_status

log = logging.getLogger(__name__)

GOODBYE = "said good-bye"
LAST_WORDS_S = 1.0  # a beat that was under way when its worker died does not revive it
LEAST_APART = 0.9  # of an interval, two beats
NEWER_S = 1.0  # or a tenth of its interval: the time for a newer beat after a presence was lost


class HealthMonitor:
    """One leader's eyes: begins anew with each term. `drain` applies a worker's reports to the end."""

    def __init__(
        self,
        stores: Stores,
        fleet: Fleet,
        failover: Failover,
        presence: Presence,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = stores.ledger
        self._live = stores.live
        self._looks = Looks(stores.redis, stores.keys)
        self._fleet = fleet
        self._failover = failover
        self._presence = presence
        self._now = now
        self._clock = Clock(lambda: fleet.policy.heartbeat_interval_s, now)
        presence.saw = self._clock.tick
        self._sights: dict[WorkerId, Sight] = {}
        self._unsettled: set[WorkerId] = set()  # whose sight is another one when a look finds nothing new
        self._judged_as: dict[WorkerId, Worker] = {}
        self._looked = self._clock.read()
        self._begun = False  # every worker was looked at once: whom we do not know has joined since
        self._newest: dict[WorkerId, Beat] = {}  # also when it has expired
        self._suspected: dict[WorkerId, Loss] = {}
        self._died_at: dict[WorkerId, float] = {}
        self._owing: set[WorkerId] = set()  # down, and strict attempts may still run there
        self.anew = False  # a worker has joined anew, though no bell said so
        self.waits = False  # something will be decided within moments
        self.drain: Callable[[set[WorkerId]], object] = lambda _: None

    def begin(self) -> None:
        """A new term, or a new generation of Redis: nobody has been silent yet."""
        self._sights.clear()
        self._unsettled.clear()
        self._begun = False
        self._suspected.clear()
        self._clock.forgive()
        self._looked = self._clock.read()

    def look(self) -> Look:
        """Read all beats. Raises redis' errors: then nothing is judged, and the time does not count as silence."""
        look = self._looks.look(list(self._fleet.workers))
        self._clock.tick()
        return look

    def suspect(self, losses: Iterable[Loss]) -> None:
        """Remember that these are no longer present, until it is settled what became of them."""
        self._suspected.update({loss.worker: loss for loss in losses})

    def judge(self, look: Look) -> set[WorkerId]:
        """Judge by this look and by who is suspected; returns the workers whose rooms may have changed."""
        self.anew = any(self._know(look.beats[worker]) for worker in look.fresh)
        changed = self._changed()
        doubtful = self._doubtful(look) | changed
        changed |= self._see_all(look.beats, doubtful)
        self._begun = True
        verdicts = [(self._fleet.workers[worker], self._judged(self._fleet.workers[worker])) for worker in doubtful]
        changed |= {worker.id for worker, verdict in verdicts if verdict and self._settle(worker, verdict)}
        changed |= self._lost()
        self._silence()
        self.waits = bool(self._suspected or self._owing) or any(map(self._unsure, self._dark()))
        self._judged_as = dict(self._fleet.workers)
        return changed

    def change(self, worker: Worker, verdict: Verdict) -> bool:
        """Write a change of health and do what follows; False when somebody else had moved it."""
        status = worker_status(replace(worker, health=verdict.to))
        with self._ledger.transaction() as tx:
            if not workers.set_health(tx, worker, verdict.to, verdict.cause, status, verdict.degraded_as):
                return False
            if verdict.to is Health.DOWN:
                reached, silence_s = self._presence.reached(worker), self._silence_s(worker)
                beat = self._newest.get(worker.id)
                incident.begin(tx, worker, beat, verdict.cause, silence_s, proven=verdict.proven, reached=reached)
        log.warning("health: worker=%s %s -> %s cause=%s", worker.id, worker.health, verdict.to, verdict.cause)
        self._fleet.set_health(worker.id, verdict.to, verdict.cause, verdict.degraded_as)
        point("health.changed")
        self._follow(worker, verdict)
        return True

    def hear(self, report: Report) -> None:
        """What a worker says of itself: that it leaves, or that its newest beat is not true any more.

        Its beats do not get through, or a slot of it has died.
        """
        worker = self._fleet.workers.get(report.worker)
        if worker is None or worker.incarnation != report.incarnation:
            return
        if report.kind == "goodbye" and worker.health is not Health.LEFT:
            # Every end has been reported before it; what is held nevertheless has no process left.
            self.change(worker, Verdict(Health.LEFT, GOODBYE))
        elif report.kind == "end" and self._outdates(report, worker) and worker.id in self._sights:
            self._fleet.outdated[worker.id] = self._sights[worker.id].seq

    def takes_nothing(self, worker: Worker, why: str) -> None:
        """Its slots let an envelope lie: degraded until they take it, though it beats."""
        self._settle(worker, Verdict(Health.DEGRADED, f"does not take: {why}", degraded_as=Degraded.TAKES_NOTHING))

    def takes_again(self, worker: Worker) -> None:
        """They have taken it."""
        self._settle(worker, Verdict(Health.HEALTHY, "its slots take again"))

    def is_beating(self, worker: WorkerId) -> bool:
        """Whether its key was there at the last look."""
        sight = self._sights.get(worker)
        return sight is not None and sight.beating

    def _settle(self, worker: Worker, verdict: Verdict) -> bool:
        """Change it, if the verdict holds when all that the worker has reported is applied, perhaps its good-bye."""
        if verdict.to is not Health.HEALTHY:
            self.drain({worker.id})  # a result that has arrived is never thrown away
        return self._fleet.workers[worker.id].health is worker.health and self.change(worker, verdict)

    def _know(self, beat: Beat) -> bool:
        """A beat of a higher incarnation than we know was confirmed meanwhile: the bell was lost."""
        worker = self._fleet.workers.get(beat.worker)
        if worker is None or beat.incarnation <= worker.incarnation:
            return False
        self._fleet.reload()
        return True

    def _changed(self) -> set[WorkerId]:
        """Those that are not as they were when they were last judged, whoever changed them."""
        judged = self._judged_as
        return {id_ for id_, worker in self._fleet.workers.items() if judged.get(id_) is not worker}

    def _doubtful(self, look: Look) -> set[WorkerId]:
        """Whose health may be another one: whoever beats as at the last look is as healthy as it was then."""
        workers = self._fleet.workers.keys()
        unseen = (workers - look.beats.keys()) | (workers - self._sights.keys())
        return unseen | ((look.fresh | self._unsettled) & workers)

    def _dark(self) -> list[Worker]:
        """Those that do not beat."""
        return [self._fleet.workers[worker] for worker in self._unsettled if not self._sights[worker].beating]

    def _see_all(self, beats: dict[WorkerId, Beat], doubtful: set[WorkerId]) -> set[WorkerId]:
        """Take the look's beats of these workers; returns those of which something is new."""
        before, self._looked = self._looked, self._clock.read()
        fresh = [beats[worker] for worker in doubtful if worker in beats and self._is_fresh(beats[worker])]
        ages = self._live.ages_s(fresh)
        # Received after the look before this one, or that one would have found it.
        received = {worker: max(before, self._looked - age) for worker, age in ages.items()}
        new = {
            worker
            for worker in doubtful
            if self._see(self._fleet.workers[worker], beats, received.get(worker, self._looked))
        }
        sights = ((worker, self._sights[worker]) for worker in doubtful)
        self._unsettled = {worker for worker, sight in sights if sight.fresh or not sight.beating}
        return new

    def _is_fresh(self, beat: Beat) -> bool:
        sight = self._sights.get(beat.worker)
        return sight is None or (sight.incarnation, sight.seq) != (beat.incarnation, beat.seq)

    def _see(self, worker: Worker, beats: dict[WorkerId, Beat], received: float) -> bool:
        """Take the look's beat of this worker; True when something about it is new."""
        before = self._sights.get(worker.id)
        sight = before
        if sight is None or sight.incarnation != worker.incarnation:
            if sight is not None:
                self._fleet.silence_s[worker.id] = self._looked - sight.at
            joined = sight is not None or self._begun
            sight = first_sight(worker.incarnation, self._looked, self._fleet.policy.clocks, joined)
            self._fleet.proven.discard(worker.id)
            self._fleet.outdated.pop(worker.id, None)
        beat = beats.get(worker.id)
        mine = beat is not None and self._fleet.heard(beat)  # an older incarnation's is no sign of life
        if beat is not None and mine:
            self._newest[worker.id] = beat
        else:
            self._fleet.beats.pop(worker.id, None)
        self._sights[worker.id] = after = seen(sight, beat if mine else None, received)
        return after.fresh or before is None or before.beating != after.beating

    def _judged(self, worker: Worker) -> Verdict | None:
        sight = self._sights[worker.id]
        if takes_nothing(worker) and sight.beating:
            return None  # reconcile sees when it has taken something
        if self._now() < self._died_at.get(worker.id, 0.0) + LAST_WORDS_S:
            return None
        return judge(worker.health, sight, self._clock.read())

    def _lost(self) -> set[WorkerId]:
        """Fast failover: proof at once, silence on the line when no newer beat comes."""
        if not self._fleet.policy.fast_failover:
            self._suspected.clear()
            return set()
        due = [loss for loss in self._suspected.values() if self._is_due(loss)]
        changed = set()
        for loss in due:
            worker = self._fleet.workers.get(loss.worker)
            if worker and self._is_gone(worker, loss):
                verdict = Verdict(Health.DOWN, loss.why, proven=loss.kind is LossKind.DEAD)
                changed |= {worker.id} if self._settle(worker, verdict) else set()
            del self._suspected[loss.worker]  # last: it is said once, and a store may fail
        return changed

    def _is_due(self, loss: Loss) -> bool:
        sight = self._sights.get(loss.worker)
        newer_s = max(NEWER_S, sight.interval_s / 10 if sight else 0.0)
        return loss.kind is LossKind.DEAD or self._now() >= loss.at + newer_s

    def _is_gone(self, worker: Worker, loss: Loss) -> bool:
        sight = self._sights.get(worker.id)
        if worker.incarnation != loss.incarnation or worker.health not in LIVE or sight is None:
            return False
        return loss.kind is LossKind.DEAD or not (sight.seq > loss.seq or self._presence.listens(worker))

    def _silence(self) -> None:
        """Who is down and has been silent for so long that strict attempts have ended, whatever the proof."""
        down = [worker for worker in self._fleet.workers.values() if worker.health is Health.DOWN]
        self._fleet.silenced = {worker.id for worker in down if self._is_silenced(worker)}
        self._owing &= {worker.id for worker in down}
        for worker in self._owing & self._fleet.silenced:
            why = down_words(self._fleet.workers[worker])
            self._failover.take_from_down(jobs.held(self._ledger, worker), why)
        self._owing -= self._fleet.silenced

    def _is_silenced(self, worker: Worker) -> bool:
        sight = self._sights[worker.id]
        return not sight.beating and self._silence_s(worker) >= sight.down_s

    def _outdates(self, end: Report, worker: Worker) -> bool:
        """Whether what its newest beat says is not true any more."""
        return end.cause == Cause.SLOT or (end.cause == Cause.DEADLINE and self._is_late(worker))

    def _is_late(self, worker: Worker) -> bool:
        """Whether a beat is overdue; where none is, what was said of its beats is old."""
        sight = self._sights.get(worker.id)
        return sight is not None and self._silence_s(worker) >= LEAST_APART * sight.interval_s

    def _silence_s(self, worker: Worker) -> float:
        sight = self._sights.get(worker.id)
        return self._clock.read() - sight.at if sight else 0.0

    def _unsure(self, worker: Worker) -> bool:
        """One that joined beats within moments; one whose key is gone is about to be degraded or down."""
        sight = self._sights[worker.id]
        return (worker.health is Health.HEALTHY and sight.seq < 0) or (worker.health in LIVE and sight.undecided)

    def _follow(self, worker: Worker, verdict: Verdict) -> None:
        if verdict.to is Health.HEALTHY:
            self._fleet.proven.discard(worker.id)
        elif verdict.to is Health.DEGRADED:
            self._presence.call(worker)  # the answer tells a host that is silent from a Redis out of its reach
            self._failover.take_back_all(worker.id, verdict.cause, leave=verdict.degraded_as is Degraded.TAKES_NOTHING)
        elif verdict.to is Health.DOWN:
            self._fall(worker, verdict)
        elif verdict.to is Health.LEFT:
            self._failover.take_away_all(worker.id, verdict.cause)

    def _fall(self, worker: Worker, verdict: Verdict) -> None:
        if verdict.proven:
            self._fleet.proven.add(worker.id)
            self._died_at[worker.id] = self._now()
        if self._is_silenced(worker):
            self._fleet.silenced.add(worker.id)
        held = jobs.held(self._ledger, worker.id)
        if any(each.strict for each in held):
            self._owing.add(worker.id)
        self._failover.take_from_down(held, verdict.cause)
