"""What is said about Redis is tried on both servers."""

from __future__ import annotations

import pytest

from tests.services import Services


@pytest.fixture(params=["valkey", "redis"])
def redis_server(request: pytest.FixtureRequest, services: Services) -> str:
    """An empty server's URL without a database."""
    return services.redis(request.param)
