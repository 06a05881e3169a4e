"""Reads of what is live in Redis: beats, loads, leases. Writes nothing, decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.pool.keys import Keys
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Beat, Lease, from_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveBeat:
    """A beat and its age in seconds by Redis' clock (its TTL less what is left of it)."""

    beat: Beat
    age_s: float


@dataclass(frozen=True)
class Look:
    """Beats and generation read in one MULTI: a wipe between two reads would make everybody look dead."""

    generation: str | None
    beats: dict[WorkerId, Beat]


class Live:
    """Reads under one prefix with a client that decodes responses."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def look(self, workers: Sequence[WorkerId]) -> Look:
        """The generation, and the beats of those workers that have one."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(self._keys.generation)
            if workers:
                pipe.mget([self._keys.beat(worker) for worker in workers])
            answers = pipe.execute()
        return Look(answers[0], _beats(workers, answers[1] if workers else []))

    def beats(self, workers: Sequence[WorkerId]) -> dict[WorkerId, LiveBeat]:
        """Each worker's beat with its age; a worker without one is left out."""
        with self._redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.get(self._keys.beat(worker))
                pipe.pttl(self._keys.beat(worker))
            answers = pipe.execute()
        beats = _beats(workers, answers[0::2])
        left_ms = dict(zip(workers, answers[1::2]))
        return {w: LiveBeat(beat, max(0.0, (beat.ttl_ms - left_ms[w]) / 1000)) for w, beat in beats.items()}

    def scores(self) -> dict[WorkerId, float]:
        """The load of every live worker, 0 to 1."""
        scores = self._redis.zrange(self._keys.load, 0, -1, withscores=True)
        return {WorkerId(worker): score for worker, score in scores}

    def leases(self, worker: WorkerId) -> dict[JobId, Lease]:
        """The worker's leases by job."""
        return parse_leases(self._redis.hgetall(self._keys.lease(worker)))

    def leases_of(self, workers: Sequence[WorkerId]) -> dict[WorkerId, dict[JobId, Lease]]:
        """The same for many in one round trip."""
        with self._redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.hgetall(self._keys.lease(worker))
            return {worker: parse_leases(found) for worker, found in zip(workers, pipe.execute())}

    def generation(self) -> str | None:
        """The pool's generation; None when Redis has forgotten it."""
        found: str | None = self._redis.get(self._keys.generation)
        return found


def parse_leases(fields: dict[str, str]) -> dict[JobId, Lease]:
    """Leases from the hash; one that cannot be read is logged and left out."""
    leases = {}
    for job, text in fields.items():
        try:
            leases[JobId(job)] = from_json(Lease, text)
        except ValueError as error:
            log.warning("lease of job=%s cannot be read: %s", job, error)
    return leases


def _beats(workers: Sequence[WorkerId], texts: Iterable[str | None]) -> dict[WorkerId, Beat]:
    found = {}
    for worker, text in zip(workers, texts):
        if text is None:
            continue
        try:
            found[worker] = from_json(Beat, text)
        except ValueError as error:
            log.warning("beat of worker=%s cannot be read: %s", worker, error)
    return found
