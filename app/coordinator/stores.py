"""The stores that the coordinator works on, handed down as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.ledger.db import Ledger
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.model import WorkerId

REDIS_TIMEOUT_S = 1.5


@dataclass(frozen=True)
class Stores:
    """The ledger, the pool's database in Redis (decoding) and RQ's (not decoding)."""

    ledger: Ledger
    redis: Any
    rq: Any
    keys: Keys

    @property
    def live(self) -> Live:
        """Reads of the pool's database."""
        return Live(self.redis, self.keys)

    def ring(self, workers: set[WorkerId]) -> None:
        """Tell these workers to look at their leases and their `wanted`."""
        with self.redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.publish(self.keys.bell_of(worker), "look")
            pipe.execute()


def connect(database_url: str, redis_url: str, rq_redis_url: str, prefix: str) -> Stores:
    """The stores; nothing is connected before it is used."""
    # No retries: the loop tries again, and place must not be repeated when nobody knows whether it ran.
    timeouts: dict[str, Any] = {
        "socket_timeout": REDIS_TIMEOUT_S,
        "socket_connect_timeout": REDIS_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    return Stores(
        ledger=Ledger.connect(database_url),
        # What a worker wrote and is no text is its own trouble: it does not stop the pool.
        redis=redis.Redis.from_url(redis_url, decode_responses=True, encoding_errors="replace", **timeouts),
        rq=redis.Redis.from_url(rq_redis_url, **timeouts),
        keys=Keys(prefix),
    )
