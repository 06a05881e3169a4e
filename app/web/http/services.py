"""What a web process holds open: ledger, Redis, settings. Both connect when first used, none at start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import redis
from flask import current_app

from app.ledger.db import Ledger
from app.pool import redis_client
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.settings import ServerSettings

log = logging.getLogger(__name__)

EXTENSION = "muster"


@dataclass(frozen=True)
class Services:
    """The stores as a view reaches them."""

    settings: ServerSettings
    ledger: Ledger
    redis: Any  # redis.Redis[str]
    keys: Keys
    live: Live

    def ring(self, message: str) -> None:
        """Ring the coordinator's bell; a bell that cannot be rung costs a second, never truth."""
        try:
            self.redis.publish(self.keys.bell, message)
        except redis.RedisError as error:
            log.warning("the bell cannot be rung (%s): the coordinator's sweep will find it", error)

    def close(self) -> None:
        """Give all connections back."""
        self.ledger.close()
        self.redis.close()


def open_services(settings: ServerSettings, threads: int) -> Services:
    """The services of one process; to be called after gunicorn has forked."""
    client = redis_client.client(settings.redis_url, redis_client.PAGE_S, repeats=1)
    keys = Keys(settings.prefix)
    return Services(settings, Ledger.connect(settings.database_url, size=threads), client, keys, Live(client, keys))


def services() -> Services:
    """Those of the application that answers this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
