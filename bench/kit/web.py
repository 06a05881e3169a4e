"""The web application in the bench's own process, over real stores: what is asked of it passes no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION


@contextmanager
def application(folder: Path, database_url: str, redis_server: str) -> Iterator[Flask]:
    """The application of these stores; `redis_server` names no database."""
    settings = ServerSettings.from_environment(
        {
            "MUSTER_HOME": str(folder / "home"),
            "DATABASE_URL": database_url,
            "REDIS_URL": f"{redis_server}/1",
            "RQ_REDIS_URL": f"{redis_server}/0",
        }
    )
    app = create_app(settings)
    try:
        yield app
    finally:
        app.extensions[EXTENSION].close()
