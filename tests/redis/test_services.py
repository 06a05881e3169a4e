"""The test servers themselves."""

from __future__ import annotations

import pytest
import redis

from app.pool.errors import PoolError
from app.up.reach import check_redis


def test_both_servers_are_empty_and_refuse_who_has_no_password(redis_server: str, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
    with pytest.raises(PoolError, match="refuses us"):
        check_redis("redis://" + redis_server.rpartition("@")[2])
