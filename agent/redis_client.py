"""Clients of the pool's database in Redis, as main's threads and the beat process use them.

No retries inside: each caller decides how soon it tries again, and must know that it did.
"""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LEAST_TIMEOUT_S = 1.0


def connect(url: str, timeout_s: float = 5.0) -> redis.Redis:
    """A client for one thread; a call fails after `timeout_s`. Connects with the first call."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        protocol=2,  # one answer at a time; nothing that an ACL must allow beyond the commands used
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )
