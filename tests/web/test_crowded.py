"""People are told that Redis runs out of connections while there is time to do something about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from redis import Redis

from app.web.http import cache
from tests.kit.web import Web, signed_in


@pytest.fixture
def crowd(web: Web) -> Iterator[Web]:
    """A pool with many connections, whose Redis is given its own limit back afterwards."""
    most = web.services.redis.config_get("maxclients")["maxclients"]
    with ExitStack() as many:
        for _ in range(50):
            many.enter_context(closing(Redis.from_url(web.services.settings.redis_url))).ping()
        yield web
    web.services.redis.config_set("maxclients", most)


def limit(web: Web, share: float) -> None:
    """Have this share of the connections be open; one more or less of many is no difference."""
    clients = web.services.redis.info("clients")["connected_clients"]
    web.services.redis.config_set("maxclients", round(clients / share))


def said(web: Web) -> tuple[str, ...]:
    """What /readyz says of Redis, and the page's words, of a fleet that nobody has looked at since."""
    checks = {check["name"]: check for check in web.client.get("/readyz").get_json()["checks"]}
    assert checks["redis"]["ok"]
    client = signed_in(web, web.admin)
    with web.app.app_context():
        cache.forget_workers()  # else the page is as it was shown two seconds ago
    return checks["redis"]["detail"], client.get("/").text


def test_four_fifths_of_the_connections_are_warned_of(crowd: Web) -> None:
    limit(crowd, 0.81)
    for words in said(crowd):
        assert "connections are open" in words
        assert "maxclients" in words


def test_fewer_connections_are_not_spoken_of(crowd: Web) -> None:
    limit(crowd, 0.75)
    for words in said(crowd):
        assert "maxclients" not in words
