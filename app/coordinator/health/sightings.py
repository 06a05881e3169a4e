"""Sightings: which beat this leader last saw of each worker, and when by the clock of its looks.

A look reads every beat, but most beats are the same text as before and cost one comparison. What a look
leaves in doubt is judged in verdicts.py: a worker that beats as at the last look is as healthy as it was then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from app.coordinator.fleet import Fleet
from app.coordinator.health.failure_detector import Clock, Sight, first_sight, seen
from app.coordinator.stores import Stores
from app.pool.live import BeatReading, Looks
from app.pool.model import Worker, WorkerId
from app.pool.protocol import Beat


@dataclass(frozen=True)
class Observed:
    """The result of a look: workers whose health may change, and workers with news."""

    doubtful: frozenset[WorkerId]
    new: frozenset[WorkerId]


class Sightings:
    """What one leader has seen; it gives each beat to the fleet too. A new term begins with none."""

    def __init__(self, stores: Stores, fleet: Fleet, now: Callable[[], float]) -> None:
        self._live = stores.live
        self._looks = Looks(stores.redis, stores.keys)
        self._fleet = fleet
        self._clock = Clock(lambda: fleet.policy.heartbeat_interval_s, now)
        self._sights: dict[WorkerId, Sight] = {}
        self._newest: dict[WorkerId, Beat] = {}  # also when it has expired
        self._leaving: dict[WorkerId, int] = {}  # the last incarnation that said so
        self._unsettled: frozenset[WorkerId] = frozenset()  # workers whose sight changes at every look
        self._silence_before_s: dict[WorkerId, float] = {}
        self._looked = self._clock.read()
        self._begun = False  # every worker was looked at once: an unknown one has joined since

    def begin(self) -> None:
        """A new term, or a new generation of Redis: nobody has been silent yet."""
        self._sights.clear()
        self._unsettled = frozenset()
        self._begun = False
        self._clock.forgive()
        self._looked = self._clock.read()

    def look(self) -> BeatReading:
        """Read all beats. Raises RedisError: then nothing is judged, and the time does not count as silence."""
        look = self._looks.look(list(self._fleet.workers))
        self._clock.tick()
        return look

    def tick(self) -> None:
        """Another call of Redis got through, by whatever thread: the time until now counts."""
        self._clock.tick()

    def take(self, look: BeatReading, changed: Collection[WorkerId]) -> Observed:
        """Take this look's beats of all workers that are in doubt by it, and of these `changed` ones.

        Raises RedisError.
        """
        doubtful = self._in_doubt(look).union(changed)
        before, self._looked = self._looked, self._clock.read()
        unseen = [look.beats[worker] for worker in doubtful if worker in look.beats]
        # Received after the look before this one, or that one would have found it.
        ages = self._live.ages_s([beat for beat in unseen if self._is_fresh(beat)])
        received = {worker: max(before, self._looked - age_s) for worker, age_s in ages.items()}
        new = {
            worker
            for worker in doubtful
            if self._see(self._fleet.workers[worker], look.beats, received.get(worker, self._looked))
        }
        sights = ((worker, self._sights[worker]) for worker in doubtful)
        self._unsettled = frozenset(worker for worker, sight in sights if sight.fresh or not sight.beating)
        self._begun = True
        return Observed(frozenset(doubtful), frozenset(new))

    def of(self, worker: WorkerId) -> Sight | None:
        """What was last seen of it; None before the first look at it."""
        return self._sights.get(worker)

    def newest(self, worker: WorkerId) -> Beat | None:
        """Its newest beat, also when that has expired; None when this leader has seen none."""
        return self._newest.get(worker)

    def was_leaving(self, worker: WorkerId, incarnation: int) -> bool:
        """True when this incarnation had said that it leaves; False where this leader has not heard of it."""
        return self._leaving.get(worker) == incarnation

    def is_beating(self, worker: WorkerId) -> bool:
        """True when its key was there at the last look."""
        sight = self._sights.get(worker)
        return sight is not None and sight.beating

    def now(self) -> float:
        """The clock of the looks, in seconds."""
        return self._clock.read()

    def silence_s(self, worker: WorkerId) -> float:
        """The seconds since its newest beat in which this leader could see; 0 before the first look at it."""
        sight = self._sights.get(worker)
        return self._clock.read() - sight.at if sight else 0.0

    def silence_before_s(self, worker: WorkerId) -> float:
        """How long its former incarnation had been silent when it joined anew; 0 where that was not seen."""
        return self._silence_before_s.get(worker, 0.0)

    def is_silenced(self, worker: WorkerId) -> bool:
        """True when it does not beat, and its silence alone would make it down."""
        sight = self._sights.get(worker)
        return sight is not None and not sight.beating and self.silence_s(worker) >= sight.down_s

    def dark(self) -> list[tuple[Worker, Sight]]:
        """The workers that do not beat."""
        sights = [(self._fleet.workers[worker], self._sights[worker]) for worker in self._unsettled]
        return [(worker, sight) for worker, sight in sights if not sight.beating]

    def _in_doubt(self, look: BeatReading) -> set[WorkerId]:
        workers = self._fleet.workers.keys()
        unseen = (workers - look.beats.keys()) | (workers - self._sights.keys())
        return unseen | ((look.fresh | self._unsettled) & workers)

    def _is_fresh(self, beat: Beat) -> bool:
        sight = self._sights.get(beat.worker)
        return sight is None or (sight.incarnation, sight.seq) != (beat.incarnation, beat.seq)

    def _see(self, worker: Worker, beats: Mapping[WorkerId, Beat], received: float) -> bool:
        """Take the look's beat of this worker; True when something about it is new."""
        before = self._sights.get(worker.id)
        sight = before if before and before.incarnation == worker.incarnation else self._first(worker, before)
        beat = beats.get(worker.id)
        mine = beat is not None and self._fleet.heard(beat)  # an older incarnation's is no sign of life
        if beat is not None and mine:
            self._newest[worker.id] = beat
            if beat.leaving:
                self._leaving[worker.id] = beat.incarnation
        else:
            self._fleet.unheard(worker.id)
        self._sights[worker.id] = after = seen(sight, beat if mine else None, received)
        return after.fresh or before is None or before.beating != after.beating

    def _first(self, worker: Worker, before: Sight | None) -> Sight:
        """The sight of an incarnation of which nothing was seen yet."""
        if before is not None:
            self._silence_before_s[worker.id] = self._looked - before.at
        joined = before is not None or self._begun
        return first_sight(worker.incarnation, self._looked, self._fleet.policy.clocks, joined)
