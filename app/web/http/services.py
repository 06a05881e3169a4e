"""The stores of this web process. They connect when first used, none at start."""

from __future__ import annotations

from flask import current_app

from app.actions.services import Services
from app.ledger.db import Ledger
from app.pool import redis_client
from app.pool.keys import Keys
from app.pool.live import Live
from app.pool.settings import ServerSettings
from app.web.http import cache

EXTENSION = "muster"


def open_services(settings: ServerSettings, threads: int) -> Services:
    """The services of one web process. Call it after gunicorn's fork: connections do not survive one."""
    client = redis_client.client(settings.redis_url, redis_client.PAGE_S, repeats=1)
    keys = Keys(settings.prefix)
    ledger = Ledger.connect(settings.database_url, size=threads)
    return Services(settings, ledger, client, keys, Live(client, keys), cache.forget_workers)


def services() -> Services:
    """The services of the application that answers this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
