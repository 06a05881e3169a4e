"""The stores of this web process. They connect when first used, none at start."""

from __future__ import annotations

import redis
from flask import current_app
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.actions.services import Services
from app.ledger.db import Ledger
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.settings import ServerSettings
from app.web.http import cache

EXTENSION = "muster"
REDIS_S = 2  # a page that waits longer for Redis is better told that it is away


def open_services(settings: ServerSettings, threads: int) -> Services:
    """The services of one process; to be called after gunicorn has forked."""
    client = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        encoding_errors="replace",  # a worker's bytes that are no text break no page
        socket_timeout=REDIS_S,
        socket_connect_timeout=REDIS_S,
        retry=Retry(NoBackoff(), 1),  # once more, for a connection that Redis had closed meanwhile
    )
    keys = Keys(settings.prefix)
    ledger = Ledger.connect(settings.database_url, size=threads)
    return Services(settings, ledger, client, keys, Live(client, keys), cache.forget_workers)


def services() -> Services:
    """The services of the application that answers this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
