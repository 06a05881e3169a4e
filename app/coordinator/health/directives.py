"""What is wanted of each worker, written to its hash; the bell says "look now", the hash says what."""

from __future__ import annotations

import logging
from dataclasses import replace

from app.coordinator.batches import Batches
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.pool.codec import from_json, to_json
from app.pool.model import Worker, WorkerId
from app.pool.policy import Policy
from app.pool.protocol import Wanted

log = logging.getLogger(__name__)


class DirectivesWriter:
    """Writes where something has changed; the number rises with each change, also after Redis forgot."""

    def __init__(self, stores: Stores, fleet: Fleet, turns: Batches) -> None:
        self._stores = stores
        self._fleet = fleet
        self._turns = turns
        self._seen: dict[WorkerId, Worker] = {}
        self._done: dict[WorkerId, tuple[Wanted, int]] = {}  # without its number; and the incarnation

    def write(self) -> None:
        """Bring the hashes up to date of all that have changed and of those whose turn it is; ring whose changed."""
        workers = self._fleet.workers
        changed = [worker for id_, worker in workers.items() if self._seen.get(id_) is not worker]
        due = {worker.id for worker in changed if self._done.get(worker.id) != self._wanted(worker)}
        due.update(self._turns.next(workers))  # another leader may have written there
        self._bring([workers[worker] for worker in due])
        self._seen = dict(workers)
        self._done |= {worker: self._wanted(workers[worker]) for worker in due}

    def _wanted(self, worker: Worker) -> tuple[Wanted, int]:
        return wanted_of(worker, self._fleet.policy, 0), worker.incarnation

    def _bring(self, workers: list[Worker]) -> None:
        changed: set[WorkerId] = set()
        written = self._read(workers)
        with self._stores.redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                wanted, fields = self._fields(worker, written[worker.id])
                if fields != written[worker.id]:
                    pipe.hset(self._stores.keys.worker(worker.id), mapping=fields)
                    log.info("wanted: worker=%s number=%d intent=%s", worker.id, wanted.number, wanted.intent)
                    changed.add(worker.id)
            pipe.execute()
        self._stores.ring(changed)

    def _read(self, workers: list[Worker]) -> dict[WorkerId, dict[str, str | None]]:
        names = ("wanted", "incarnation")
        with self._stores.redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.hmget(self._stores.keys.worker(worker.id), names)
            answers = pipe.execute()
        return {
            worker.id: dict(zip(names, answer, strict=True)) for worker, answer in zip(workers, answers, strict=True)
        }

    def _fields(self, worker: Worker, written: dict[str, str | None]) -> tuple[Wanted, dict[str, str | None]]:
        """The incarnation stands beside it, so that an older one sees that it was replaced."""
        before = _parsed(written["wanted"])
        beat = self._fleet.beats.get(worker.id)
        obeyed = beat.wanted if beat else 0
        wanted = wanted_of(worker, self._fleet.policy, before.number if before else obeyed)
        if wanted == before and written["incarnation"] == str(worker.incarnation):
            return wanted, written
        if wanted != before:
            wanted = replace(wanted, number=max(wanted.number, obeyed) + 1)
        return wanted, {"wanted": to_json(wanted), "incarnation": str(worker.incarnation)}


def wanted_of(worker: Worker, policy: Policy, number: int) -> Wanted:
    """What is wanted of this worker now."""
    return Wanted(
        number=number,
        intent=str(worker.intent),
        restart=worker.restart,
        interval_ms=round(policy.heartbeat_interval_s * 1000),
        missed_beats=policy.missed_beats,
        queue_depth=policy.queue_depth if worker.queue_depth is None else worker.queue_depth,
        max_orphan_s=policy.max_orphan_s,
        slots=worker.slots_wanted,
    )


def _parsed(text: str | None) -> Wanted | None:
    try:
        return from_json(Wanted, text) if text else None
    except ValueError:
        return None  # of another release: written anew
