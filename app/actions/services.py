"""What an action works with: the ledger, Redis, the settings of this process, and the coordinator's bell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from app.ledger.db import Ledger
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.model import WorkerId
from app.pool.settings import ServerSettings

log = logging.getLogger(__name__)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Services:
    """The stores of one process. `workers_changed` is called before each ring that says that workers changed."""

    settings: ServerSettings
    ledger: Ledger
    redis: Any  # redis.Redis[str]
    keys: Keys
    live: Live
    workers_changed: Callable[[], None] = _nothing

    def ring(self, message: str) -> None:
        """Ring the coordinator's bell; a bell that cannot be rung costs a second, never truth."""
        try:
            self.redis.publish(self.keys.bell, message)
        except redis.RedisError as error:
            log.warning("the bell cannot be rung (%s): the coordinator's sweep will find it", error)

    def ring_workers(self, workers: Sequence[WorkerId]) -> None:
        """Tell this process and the coordinator that these workers changed."""
        self.workers_changed()
        self.ring(f"worker {workers[0]}" if len(workers) == 1 else "workers")

    def ring_groups(self) -> None:
        """Tell this process and the coordinator that groups, or their members, changed."""
        self.workers_changed()
        self.ring("groups")

    def close(self) -> None:
        """Give all connections back."""
        self.ledger.close()
        self.redis.close()
