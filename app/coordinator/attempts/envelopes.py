"""Envelopes: an attempt as an RQ job in its worker's one queue; thrown away afterwards.

RQ's own retries, timeouts and callbacks are not used: the ledger decides what happens next. An envelope
that was popped is left to RQ, whose slot may be writing its hash; any other is removed whole.
Every call raises RedisError. Removing may be repeated; `put` may not: an envelope would be there twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import get_version

from app.pool.codec import plain
from app.pool.keys import FUNCTION, envelope_id, queue
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Order

RESULT_TTL_S = 300  # how long RQ keeps what is left of an attempt, for people at rq-dashboard
NO_TIMEOUT = -1  # the guard enforces time limits


@dataclass(frozen=True)
class QueuedEnvelopes:
    """The ids of one worker's envelopes.

    RQ takes a popped one off its list when the guard begins; a slot that dies before that leaves it there.
    """

    waiting: frozenset[str] = frozenset()
    popped: frozenset[str] = frozenset()


class Envelopes:
    """Puts, lists and removes envelopes."""

    def __init__(self, rq: Any) -> None:
        self._rq = rq
        self._version: tuple[int, int, int] | None = None

    def put(self, orders: Iterable[Order]) -> None:
        """Put one envelope for each order, in their order, all in one pipeline."""
        of_workers: dict[WorkerId, list[Any]] = {}
        for order in orders:
            of_workers.setdefault(order.worker, []).append(_envelope(order))
        with self._rq.pipeline(transaction=False) as pipe:
            for worker, envelopes in of_workers.items():
                self._queue(worker).enqueue_many(envelopes, pipeline=pipe)
            pipe.execute()

    def queued(self, workers: Sequence[WorkerId]) -> dict[WorkerId, QueuedEnvelopes]:
        """The ids of the envelopes that each worker's queue and its `:intermediate` hold."""
        with self._rq.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.lrange(_key(worker), 0, -1)
                pipe.lrange(IntermediateQueue.get_intermediate_queue_key(_key(worker)), 0, -1)
            answers = pipe.execute()
        pairs = zip(workers, answers[0::2], answers[1::2], strict=True)
        return {
            worker: QueuedEnvelopes(frozenset(_ids(waiting)), frozenset(_ids(popped)))
            for worker, waiting, popped in pairs
        }

    def waiting(self, workers: Collection[WorkerId]) -> dict[WorkerId, list[str]]:
        """By worker, the ids of the envelopes that no slot has popped, in the order in which slots will pop them."""
        with self._rq.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.lrange(_key(worker), 0, -1)
            answers = pipe.execute()
        return {worker: _ids(found) for worker, found in zip(workers, answers, strict=True)}

    def remove(self, worker: WorkerId, job: JobId, attempt: int) -> bool:
        """Remove the attempt's envelope if no slot has popped it; False when it had been, or was not there."""
        return self.remove_id(worker, envelope_id(worker, job, attempt))

    def remove_id(self, worker: WorkerId, envelope: str) -> bool:
        """Remove this envelope if no slot has popped it; False when one had, or it was not there."""
        # LREM and a slot's LMOVE exclude each other: the hash is deleted only where nobody can be reading it.
        removed = bool(self._rq.lrem(_key(worker), 0, envelope))
        if removed:
            self._rq.delete(Job.key_for(envelope))
        return removed

    def forget_popped(self, worker: WorkerId, envelope: str) -> None:
        """Remove an envelope that a slot popped before it died; no slot may be at work with it."""
        self._rq.lrem(IntermediateQueue.get_intermediate_queue_key(_key(worker)), 0, envelope)
        self._rq.delete(Job.key_for(envelope))

    def _queue(self, worker: WorkerId) -> Queue:
        found = Queue(queue(worker), connection=self._rq, serializer=JSONSerializer)
        if self._version is None:
            self._version = get_version(self._rq)
        found.redis_server_version = self._version  # or every queue asks the server
        return found


def _envelope(order: Order) -> Any:
    name = envelope_id(order.worker, order.job, order.attempt)
    return Queue.prepare_data(
        FUNCTION,
        kwargs={"order": plain(order)},
        timeout=NO_TIMEOUT,
        result_ttl=RESULT_TTL_S,
        failure_ttl=RESULT_TTL_S,
        job_id=name,
        description=name,  # or RQ writes all arguments into it
    )


def _ids(found: Iterable[bytes]) -> list[str]:
    return [each.decode(errors="replace") for each in found]


def _key(worker: WorkerId) -> str:
    return f"{Queue.redis_queue_namespace_prefix}{queue(worker)}"
