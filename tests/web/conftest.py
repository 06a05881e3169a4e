"""The web application over real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION
from tests.kit.web import Web, server_settings


@pytest.fixture
def settings(database_url: str, redis_url: str, rq_url: str, tmp_path: Path) -> ServerSettings:
    return server_settings(tmp_path, database_url, redis_url, rq_url)


@pytest.fixture
def web(settings: ServerSettings) -> Iterator[Web]:
    app = create_app(settings)
    yield Web(app, app.extensions[EXTENSION])
    app.extensions[EXTENSION].close()
