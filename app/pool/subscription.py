"""Listening on a subscription: a connection that has been silent for long is asked whether it lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis

PING_S = 5.0


def listen(
    pubsub: Any,
    heard: Callable[[dict[str, Any]], object],
    going: Callable[[], bool] = lambda: True,
    look_s: float = PING_S,
) -> None:
    """Hand on every message, confirmations of the subscription too, until `going`, asked every `look_s`, says False.

    Raises redis.RedisError when the connection is lost, or has not answered for twice PING_S: the kernel does not
    notice a loss without a word, as of a router that forgot or an address that moved.
    """
    heard_at, asked = time.monotonic(), False
    while going():
        message = pubsub.get_message(timeout=look_s)
        silent_s = time.monotonic() - heard_at
        if message is not None:
            heard_at, asked = time.monotonic(), False
            heard(message)
        elif asked and silent_s >= 2 * PING_S:
            raise redis.TimeoutError("the connection does not answer")
        elif not asked and silent_s >= PING_S:
            pubsub.ping()
            asked = True
