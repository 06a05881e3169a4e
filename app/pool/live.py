"""Reads of what is live in Redis: beats, loads, leases. Writes nothing, decides nothing.

Every read raises redis.RedisError where Redis does not answer or refuses, and may be repeated.
A beat or a lease that cannot be read is named in the log and left out: one text must not stop the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from app.pool.codec import from_json
from app.pool.keys import Keys
from app.pool.load import Load, load
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Beat, Lease

log = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE = 1_000  # keys a call, or workers a pipeline: the server is busy for a millisecond
CROWDED = 0.8  # of maxclients: a worker more takes several, so there is time to raise it
KEEPALIVE_S = 5  # without an answer; after two probes more Redis drops the connection


@dataclass(frozen=True)
class LiveBeat:
    """A beat and its age in seconds by Redis' clock (its TTL less what is left of it)."""

    beat: Beat
    age_s: float


@dataclass(frozen=True)
class BeatReading:
    """Beats and generation, read in one MULTI: a wipe between two reads would make everybody look dead."""

    generation: str | None  # None: Redis has none, or it changed meanwhile
    beats: dict[WorkerId, Beat]  # of the workers that have one
    fresh: frozenset[WorkerId] = frozenset()  # whose beat differs from the one that this reader saw last


class Live:
    """Reads under one prefix with a client that decodes responses. Every call raises RedisError."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def look(self, workers: Sequence[WorkerId]) -> BeatReading:
        """The generation, and the beats of these workers."""
        return Looks(self._redis, self._keys).look(workers)

    def ages_s(self, beats: Sequence[Beat]) -> dict[WorkerId, float]:
        """By worker, the seconds since Redis received its beat; one that has expired meanwhile is as old as its TTL."""
        if not beats:
            return {}
        with self._redis.pipeline(transaction=False) as pipe:
            for beat in beats:
                pipe.pttl(self._keys.beat(beat.worker))
            answers = pipe.execute()
        return {beat.worker: (beat.ttl_ms - max(0, left)) / 1000 for beat, left in zip(beats, answers)}

    def beats(self, workers: Sequence[WorkerId]) -> dict[WorkerId, LiveBeat]:
        """Each worker's beat with its age; a worker without a beat is left out. Parsed beats are remembered."""
        with self._redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.get(self._keys.beat(worker))
                pipe.pttl(self._keys.beat(worker))
            answers = pipe.execute()
        beats = _beats(workers, answers[0::2], _remembered)
        left_ms = dict(zip(workers, answers[1::2]))
        return {w: LiveBeat(beat, max(0.0, (beat.ttl_ms - left_ms[w]) / 1000)) for w, beat in beats.items()}

    def loads(self, workers: Sequence[WorkerId]) -> dict[WorkerId, Load]:
        """The load of each of these workers that is live, 0 to 1, with the parts that it was made of."""
        if not workers:
            return {}
        with self._redis.pipeline(transaction=True) as pipe:  # a placement between the two would tear them apart
            pipe.zmscore(self._keys.load, list(workers))
            for worker in workers:
                pipe.hget(self._keys.worker(worker), "state")
            scores, *found = pipe.execute()
        return {
            worker: replace(load(text), score=score)
            for worker, score, text in zip(workers, scores, found)
            if score is not None and text is not None
        }

    def leases(self, worker: WorkerId) -> dict[JobId, Lease]:
        """The worker's leases by job."""
        return parse_leases(self._redis.hgetall(self._keys.lease(worker)))

    def leases_of(self, workers: Sequence[WorkerId]) -> dict[WorkerId, dict[JobId, Lease]]:
        """The leases of many workers by worker and job, in steps that keep no other client of Redis waiting."""
        found: dict[WorkerId, dict[JobId, Lease]] = {}
        with self._redis.pipeline(transaction=False) as pipe:
            for part in portions(workers, AT_ONCE):
                for worker in part:
                    pipe.hgetall(self._keys.lease(worker))
                found |= {worker: parse_leases(fields) for worker, fields in zip(part, pipe.execute())}
        return found

    def keepalive_problem(self) -> str | None:
        """Why Redis would notice late that a host was cut off; None where it drops such a host in good time."""
        try:
            found = int(self._redis.config_get("tcp-keepalive").get("tcp-keepalive", 0))
        except ResponseError:
            return "nobody may read its tcp-keepalive: hosts that are cut off may be noticed by silence only"
        if 0 < found <= KEEPALIVE_S:
            return None
        return f"its tcp-keepalive is {found}, not {KEEPALIVE_S}: hosts that are cut off are noticed by silence only"

    def crowded(self) -> str | None:
        """What to do about the connections when CROWDED of those that Redis allows are open; else None."""
        info = self._redis.info("clients")
        clients, most = int(info["connected_clients"]), int(info.get("maxclients", 0))
        if clients < CROWDED * most or not most:
            return None
        share = 100 * clients // most
        return f"{share} % of its {most} connections are open, with all of them no worker can join: raise maxclients"

    def generation(self) -> str | None:
        """The pool's generation; None when Redis has forgotten it."""
        found: str | None = self._redis.get(self._keys.generation)
        return found


class Looks:
    """A reader that remembers: of thousands of beats it parses only the new ones. For one thread."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._texts: dict[WorkerId, str] = {}
        self._beats: dict[WorkerId, Beat] = {}

    def look(self, workers: Sequence[WorkerId]) -> BeatReading:
        """The generation, None where it changed meanwhile, and the beats of these workers. Raises RedisError."""
        generations, texts = self._read(workers)
        new = {w: text for w, text in zip(workers, texts) if text is not None and self._texts.get(w) != text}
        parsed = _beats(list(new), new.values())
        known = {**self._beats, **parsed}
        unreadable = new.keys() - parsed.keys()
        beats = {w: known[w] for w, text in zip(workers, texts) if text is not None and w not in unreadable}
        self._texts = {w: text for w, text in zip(workers, texts) if w in beats and text is not None}
        self._beats = beats
        return BeatReading(generations.pop() if len(generations) == 1 else None, beats, frozenset(parsed))

    def _read(self, workers: Sequence[WorkerId]) -> tuple[set[str | None], list[str | None]]:
        """Read in parts, each in one MULTI with the generation, so that no other client waits for long."""
        with self._redis.pipeline(transaction=True) as pipe:
            parts = list(portions(workers, AT_ONCE)) or [()]
            generations: set[str | None] = set()
            texts: list[str | None] = []
            for part in parts:
                pipe.get(self._keys.generation)
                if part:
                    pipe.mget([self._keys.beat(worker) for worker in part])
                generation, *found = pipe.execute()
                generations.add(generation)
                texts += found[0] if found else []
        return generations, texts


def portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, at most `size` at a time; nothing for no items."""
    return (items[first : first + size] for first in range(0, len(items), size))


def parse_leases(fields: dict[str, str]) -> dict[JobId, Lease]:
    """Leases from the hash; one that cannot be read is logged and left out."""
    leases = {}
    for job, text in fields.items():
        try:
            leases[JobId(job)] = from_json(Lease, text)
        except ValueError as error:
            log.warning("lease of job=%s cannot be read: %s", job, error)
    return leases


def _parsed(text: str) -> Beat:
    return from_json(Beat, text)


# Pages look more often than workers beat.
_remembered = lru_cache(maxsize=4096)(_parsed)


def _beats(
    workers: Sequence[WorkerId], texts: Iterable[str | None], parse: Callable[[str], Beat] = _parsed
) -> dict[WorkerId, Beat]:
    found = {}
    for worker, text in zip(workers, texts):
        if text is None:
            continue
        try:
            found[worker] = parse(text)
        except ValueError as error:
            log.warning("beat of worker=%s cannot be read: %s", worker, error)
    return found
