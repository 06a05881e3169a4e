"""What is said about Redis is tried on both servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.kit.placement_scene import PlacementScene
from tests.kit.services import Services


@pytest.fixture(params=["valkey", "redis"])
def redis_server(request: pytest.FixtureRequest, services: Services) -> str:
    """An empty server's URL without a database."""
    return services.redis(request.param)


@pytest.fixture
def pool(redis_url: str) -> Iterator[PlacementScene]:
    """A leader that places, with an empty fleet."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield PlacementScene.on(client)
