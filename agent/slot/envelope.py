"""The envelope: an RQ job as far as a slot believes it, exactly one token with exactly one order.

Whoever can write to Redis can write an RQ job. JSON alone is no protection, since a job names its function, its
callbacks and its webhooks itself. An envelope that is not as dispatch makes it is dropped and named in the log before
a work horse is forked, and the queue goes on.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.exceptions import NoSuchJobError
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue

from app.pool import keys
from app.pool.codec import from_plain
from app.pool.model import WorkerId
from app.pool.protocol import Order

log = logging.getLogger(__name__)

MOST_BYTES = 4 * 1024 * 1024  # of an order; parameters, a checkpoint and its list of files are far below
MOST_TTL_S = 3600

# The fields that RQ writes when a job is enqueued and taken. Every other one must be missing or empty: callbacks,
# webhooks, dependencies, retries, repeats, rate limits, and what later versions invent.
_FIELDS = frozenset(
    b"created_at data started_at ended_at last_heartbeat worker_name origin description enqueued_at "
    b"timeout result_ttl failure_ttl status".split()
)
_EMPTY = (b"", b"[]", b"{}", b"null")


class EnvelopeRefused(Exception):
    """Dispatch did not make this envelope; the message says how that is seen."""


class Envelope(Job):
    """An RQ job whose fields were checked. `worker` and `run` are set by `envelope_class`."""

    order: Order
    worker: ClassVar[WorkerId]
    run: ClassVar[Callable[..., None]]

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: Any = None) -> Envelope:
        """Read an envelope. Raises NoSuchJobError, also for a refused one: RQ then goes on with the next.

        Redis' connection and time-out errors are raised as they are: RQ tries again.
        """
        assert connection is not None
        try:
            envelope = super().fetch(id, connection=connection, serializer=serializer)
        except (RedisConnectionError, RedisTimeoutError):
            raise
        except NoSuchJobError:
            drop(connection, cls.worker, id)
            raise
        except Exception as error:  # any corrupt field would end RQ's worker
            log.warning("envelope refused: worker=%s envelope=%.120r cause=%s", cls.worker, id, _why(error))
            drop(connection, cls.worker, id)
            raise NoSuchJobError(id) from error
        assert isinstance(envelope, Envelope)
        return envelope

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Check what came from Redis, then let RQ read it. Raises EnvelopeRefused, and whatever RQ raises."""
        _check_fields(raw_data)
        data = _decompressed(raw_data.get(b"data", b""))
        self.order = _order(data)
        super().restore({**raw_data, b"data": data})  # the very bytes that were checked
        self._check(self.order)

    @property
    def func(self) -> Callable[..., None]:
        """The slot's one function; none is looked up by the name in the envelope."""
        return type(self).run

    def _check(self, order: Order) -> None:
        parts = keys.envelope_parts(self.id)
        if parts is None or parts != (order.worker, order.job, order.attempt):
            raise EnvelopeRefused("its id does not fit its order")
        if order.worker != self.worker:
            raise EnvelopeRefused(f"it is for worker {order.worker}")
        if self.origin != keys.queue(self.worker):
            raise EnvelopeRefused(f"it is of queue {self.origin!r}")
        if self.timeout != -1:
            raise EnvelopeRefused(f"its timeout is {self.timeout!r}, not -1")
        if not all(ttl is not None and 0 <= ttl <= MOST_TTL_S for ttl in (self.result_ttl, self.failure_ttl)):
            raise EnvelopeRefused(f"its result_ttl and failure_ttl are not from 0 to {MOST_TTL_S}")


def envelope_class(worker: WorkerId, run: Callable[..., None]) -> type[Envelope]:
    """The class of a worker's envelopes, which run nothing but `run`."""
    return type("Envelope", (Envelope,), {"worker": worker, "run": staticmethod(run)})


def drop(connection: Redis, worker: WorkerId, envelope: str | bytes) -> None:
    """Forget an envelope that was popped; its hash is deleted only if it is this worker's own."""
    queue_key = Queue.redis_queue_namespace_prefix + keys.queue(worker)
    parts = keys.envelope_parts(envelope) if isinstance(envelope, str) else None
    try:
        connection.lrem(IntermediateQueue.get_intermediate_queue_key(queue_key), 0, envelope)  # type: ignore[arg-type]
        if parts is not None and parts[0] == worker:
            connection.delete(Job.key_for(str(envelope)))
    except ResponseError as error:  # what cannot be dropped may not stop the queue either
        log.error("envelope stays in Redis: worker=%s envelope=%.120r cause=%s", worker, envelope, error)


def _check_fields(raw: Mapping[bytes, bytes]) -> None:
    strange = [name for name, value in raw.items() if name not in _FIELDS and value not in _EMPTY]
    if strange:
        raise EnvelopeRefused("it has " + b", ".join(sorted(strange)).decode(errors="replace")[:200])


def _order(data: bytes) -> Order:
    """The order in an envelope's data: [token, None, [], {"order": ...}]."""
    token, instance, args, kwargs = json.loads(data)
    if token != keys.FUNCTION:
        raise EnvelopeRefused(f"it calls {str(token)[:80]!r}")
    if instance is not None or args or list(kwargs) != ["order"]:
        raise EnvelopeRefused("its arguments are not one order")
    return from_plain(Order, kwargs["order"])


def _decompressed(data: bytes) -> bytes:
    """The data inflated, up to a limit: a small field may inflate to more than the host's memory."""
    if len(data) > MOST_BYTES:
        raise EnvelopeRefused(f"its data are larger than {MOST_BYTES} bytes")
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, MOST_BYTES)
    except zlib.error:
        return data  # RQ takes uncompressed data too
    if inflater.unconsumed_tail:
        raise EnvelopeRefused(f"its data are larger than {MOST_BYTES} bytes")
    return plain


def _why(error: Exception) -> str:
    if isinstance(error, (EnvelopeRefused, RedisError)):
        return str(error)
    return f"{type(error).__name__}: {error}"[:200]
