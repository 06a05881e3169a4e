"""Who could take what: for each open class of jobs a sorted set of workers by load.

Open classes live in the leader's memory. Who matches a class is computed in Python (matching.py)
when it is opened or a worker changes; the scripts keep scores and headroom. Everything here can be
made anew from ledger, leases and beats: that is what reconcile does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.coordinator import rooms
from app.coordinator.fleet import Fleet
from app.coordinator.leases import script
from app.coordinator.stores import Stores
from app.pool.keys import OPEN_CLASS
from app.pool.matching import VRAM_BUCKETS_MB, vram_bucket
from app.pool.model import JobId, Json, Requirement, WorkerId

LOOK_AT = 16  # workers at the head of a class, beyond the excluded ones
CLOSE_AFTER_S = 3600.0


@dataclass(frozen=True)
class Want:
    """A job that wants a worker."""

    job: JobId
    attempt: int
    vram_mb: int = 0  # its own min_vram_mb; 0: what its class needs
    gpus: int = 0  # 0: not said
    excluded: tuple[WorkerId, ...] = ()
    above_mb: int = 0  # it needs a card with more free MiB than this


@dataclass(frozen=True)
class Run:
    """Jobs of one class, in the order in which they are to be placed."""

    class_name: str
    requirement: Requirement
    wants: tuple[Want, ...]


@dataclass(frozen=True)
class Place:
    """The worker that was reserved, what of it, and why it won.

    record: strategy, score, load, parts {gpu, queue, vram}, runners_up [{worker, score}, …]
    """

    worker: WorkerId
    gpus: tuple[str, ...]
    vram_mb: int = 0  # on each of its GPUs
    whole: bool = False  # those GPUs are for it alone
    slots: int = 1
    record: Mapping[str, Json] = field(default_factory=dict)


class Eligible:
    """The open classes and what was last written of each worker."""

    def __init__(self, stores: Stores, fleet: Fleet) -> None:
        self._redis = stores.redis
        self._keys = stores.keys
        self._fleet = fleet
        self._place_script = script(stores.redis, "place")
        self._refresh = script(stores.redis, "refresh")
        self._classes: dict[str, Requirement] = {OPEN_CLASS: Requirement(workflow="")}
        self._used: dict[str, float] = {}
        self._written: dict[WorkerId, str] = {}
        self._jitter: dict[WorkerId, float] = {}

    def place(self, runs: Sequence[Run]) -> list[list[Place | None]]:
        """Reserve a worker for each want of each run, in this order; None for those that nobody has room for."""
        return [self._place_run(run.class_name, run.requirement, run.wants) for run in runs]

    def has_room(self, classes: Mapping[str, Requirement]) -> set[str]:
        """Those of these classes that some worker could be given now."""
        for name, requirement in classes.items():
            self._open(name, requirement)
        with self._redis.pipeline(transaction=False) as pipe:
            for name in classes:
                pipe.zcard(self._keys.eligible(name))
            return {name for name, size in zip(classes, pipe.execute(), strict=True) if size}

    def _place_run(self, class_name: str, requirement: Requirement, wants: Sequence[Want]) -> list[Place | None]:
        self._open(class_name, requirement)
        keys = self._keys
        answers = self._place_script(
            keys=[keys.eligible(class_name), keys.load],
            args=[keys.lease_prefix, keys.worker_prefix, keys.eligible_prefix, class_name, LOOK_AT, _wishes(wants)],
        )
        return [
            Place(WorkerId(worker), tuple(uuid for uuid in gpus.split(",") if uuid)) if worker else None
            for worker, gpus in zip(answers[0::2], answers[1::2], strict=True)
        ]

    def refresh(self, workers: Iterable[WorkerId]) -> None:
        """Write the rooms of these workers where they have changed; who is not live is taken out."""
        mean = rooms.means(self._fleet.beats.values())
        rooms_now = {worker: self._room(worker, mean) for worker in workers}
        changed = {worker: room for worker, room in rooms_now.items() if self._written.get(worker) != room}
        self._write(changed)

    def rebuild(self, whole: bool) -> None:
        """Write the rooms that differ from what Redis has, or all of them; take out what belongs to no worker."""
        self._written = {} if whole else self._found()
        self._write(dict.fromkeys(self._strangers(), ""))
        self._close_unused()
        self.refresh(self._fleet.workers)

    def _open(self, name: str, requirement: Requirement) -> None:
        self._used[name] = time.monotonic()
        if name not in self._classes:
            self._classes[name] = _of_class(requirement)
            self.refresh(self._fleet.workers)

    def _close_unused(self) -> None:
        oldest = time.monotonic() - CLOSE_AFTER_S
        for name in [name for name, at in self._used.items() if at < oldest]:
            del self._classes[name], self._used[name]

    def _room(self, worker: WorkerId, mean: rooms.Means) -> str:
        """Its room as JSON; '' when it is not live."""
        found = self._fleet.workers.get(worker)
        beat = self._fleet.beats.get(worker)
        if found is None or beat is None or not self._fleet.is_live(found):
            return ""
        jitter = self._jitter.setdefault(worker, rooms.new_jitter())
        return rooms.room(found, beat, self._classes, self._fleet.policy.queue_depth, mean, jitter)

    def _write(self, changed: dict[WorkerId, str]) -> None:
        keys = self._keys
        with self._redis.pipeline(transaction=False) as pipe:
            for worker, room in changed.items():
                self._refresh(
                    keys=[keys.lease(worker), keys.worker(worker), keys.load],
                    args=[worker, keys.eligible_prefix, room],
                    client=pipe,
                )
            pipe.execute()
        self._written.update(changed)  # only now: what did not get through is written again

    def _found(self) -> dict[WorkerId, str]:
        """The rooms that stand in Redis, whoever wrote them: a stale leader may have, after we did."""
        workers = list(self._fleet.workers)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._keys.load, 0, -1)
            for worker in workers:
                pipe.hget(self._keys.worker(worker), "room")
            loaded, *rooms_found = pipe.execute()
        live = set(loaded)
        pairs = zip(workers, rooms_found, strict=True)
        return {worker: room or "" for worker, room in pairs if bool(room) == (worker in live)}

    def _strangers(self) -> list[WorkerId]:
        return [WorkerId(w) for w in self._redis.zrange(self._keys.load, 0, -1) if w not in self._fleet.workers]


def _of_class(requirement: Requirement) -> Requirement:
    """What all jobs of the class demand: nobody excluded, and the least VRAM of its bucket."""
    least = requirement.min_vram_mb
    bucket = vram_bucket(least)
    if least and bucket in VRAM_BUCKETS_MB:
        least = VRAM_BUCKETS_MB[VRAM_BUCKETS_MB.index(bucket) - 1] + 1
    return replace(requirement, exclude_workers=(), min_vram_mb=least)


def _wishes(wants: Sequence[Want]) -> str:
    return json.dumps(
        [
            {
                "job": want.job,
                "attempt": want.attempt,
                "vram_mb": want.vram_mb,
                "gpus": want.gpus,
                "excluded": dict.fromkeys(want.excluded, True),
            }
            for want in wants
        ]
    )
