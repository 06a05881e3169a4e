"""Clients of Redis whose calls end in time. Each connects with its first call.

A client repeats nothing by itself unless told to: the caller decides how soon it tries again, and a script that gives
something away must not run twice when nobody knows whether it ran. RQ's worker has a client of another kind, which
tries for ever (agent/slot/process.py).
"""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PAGE_S = 2.0  # a page that waits longer for Redis is better told that it is away
COORDINATOR_S = 1.5  # of a leader that holds its lease for longer
PROBE_S = 3.0  # of `up`, which asks whether a server is there at all
AGENT_S = 5.0  # of an agent's threads, which may be far away


def client(url: str, timeout_s: float, *, text: bool = True, repeats: int = 0, **options: Any) -> Any:
    """A client (redis.Redis[str], of bytes without `text`) whose calls fail after `timeout_s` with a RedisError.

    Bytes that are no text are replaced: what one worker wrote wrongly stops nobody else. `repeats`: how often a call is
    sent again, for a connection that Redis had closed meanwhile. Raises ValueError for a URL that is not Redis'.
    """
    return Redis.from_url(
        url,
        decode_responses=text,
        encoding_errors="replace",
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), repeats),
        **options,
    )
