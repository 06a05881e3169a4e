"""Clients of the pool's database in Redis, as main's threads and the beat process use them."""

from __future__ import annotations

from typing import Any

from app.pool import redis_client

LEAST_TIMEOUT_S = 1.0


def connect(url: str, timeout_s: float = redis_client.AGENT_S) -> Any:
    """A client (redis.Redis[str]) for one thread, whose calls fail after `timeout_s` with a RedisError."""
    # Protocol 2: one answer at a time, and nothing that an ACL must allow beyond the commands used.
    return redis_client.client(url, timeout_s, protocol=2, socket_keepalive=True)
