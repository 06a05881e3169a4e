"""What is wanted of each worker, written to its hash; the bell says "look now", the hash says what."""

from __future__ import annotations

import logging
from dataclasses import replace

from app.coordinator.batches import Batches
from app.coordinator.fleet import Fleet
from app.coordinator.stores import Stores
from app.pool.codec import from_json, to_json
from app.pool.model import Worker, WorkerId
from app.pool.protocol import Wanted
from app.pool.wanted import wanted_of

log = logging.getLogger(__name__)


class DirectivesWriter:
    """Writes a worker's hash when its directives change; their number only rises, also after Redis forgot."""

    def __init__(self, stores: Stores, fleet: Fleet, batches: Batches) -> None:
        self._stores = stores
        self._fleet = fleet
        self._batches = batches
        self._seen: dict[WorkerId, Worker] = {}
        self._done: dict[WorkerId, tuple[Wanted, int]] = {}  # numbered 0; and the incarnation

    def write(self) -> None:
        """Bring the hashes of changed workers and of the next batch up to date, and ring where a hash has changed.

        Raises RedisError; may be called again.
        """
        workers = self._fleet.workers
        changed = [worker for id_, worker in workers.items() if self._seen.get(id_) is not worker]
        due = {worker.id for worker in changed if self._done.get(worker.id) != self._wanted(worker)}
        due.update(self._batches.next(workers))  # another leader may have written there
        self._bring([workers[worker] for worker in due])
        self._seen = dict(workers)
        self._done |= {worker: self._wanted(workers[worker]) for worker in due}

    def _wanted(self, worker: Worker) -> tuple[Wanted, int]:
        return wanted_of(worker, self._fleet.policy), worker.incarnation

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
        """What is wanted, and the hash's fields; the incarnation there tells an older one that it was replaced."""
        before = _parsed(written["wanted"])
        beat = self._fleet.beats.get(worker.id)
        obeyed = beat.wanted if beat else 0
        wanted = wanted_of(worker, self._fleet.policy, before.number if before else obeyed)
        if wanted == before and written["incarnation"] == str(worker.incarnation):
            return wanted, written
        if wanted != before:
            wanted = replace(wanted, number=max(wanted.number, obeyed) + 1)
        return wanted, {"wanted": to_json(wanted), "incarnation": str(worker.incarnation)}


def _parsed(text: str | None) -> Wanted | None:
    try:
        return from_json(Wanted, text) if text else None
    except ValueError:
        return None  # of another release: written anew
