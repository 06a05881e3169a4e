"""The stores that the coordinator works on, handed down as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.ledger.db import Ledger
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
        """Tell these workers to look at their leases and their `wanted`."""
        with self.redis.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.publish(self.keys.bell_of(worker), "look")
            pipe.execute()
