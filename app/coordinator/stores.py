"""The stores that the coordinator works on, handed down as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.ledger.db import Ledger
from app.pool import redis_client
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.model import WorkerId


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
        """Tell these workers to look at their leases and their `wanted`. Raises RedisError; may be repeated."""
        with self.redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.publish(self.keys.bell_of(worker), "look")
            pipe.execute()


def connect(database_url: str, redis_url: str, rq_redis_url: str, prefix: str) -> Stores:
    """The stores; nothing is connected before it is used."""
    return Stores(
        ledger=Ledger.connect(database_url),
        redis=redis_client.client(redis_url, redis_client.COORDINATOR_S),
        rq=redis_client.client(rq_redis_url, redis_client.COORDINATOR_S, text=False),
        keys=Keys(prefix),
    )
