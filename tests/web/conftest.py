"""The web application over real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.pool.settings import ServerSettings
from app.web.app import create_app
from app.web.http.services import EXTENSION
from tests.kit.web import Web


@pytest.fixture
def settings(database_url: str, redis_url: str, rq_url: str, tmp_path: Path) -> ServerSettings:
    return ServerSettings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        rq_redis_url=rq_url,
        agent_redis_url=redis_url,
        agent_rq_redis_url=rq_url,
        prefix="pool:",
        input_folders=(),
        output_folder=tmp_path / "output",
        secret_key="of this test",
    )


@pytest.fixture
def web(settings: ServerSettings) -> Iterator[Web]:
    app = create_app(settings)
    yield Web(app, app.extensions[EXTENSION])
    app.extensions[EXTENSION].close()
