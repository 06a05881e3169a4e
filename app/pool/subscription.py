"""Listening on a subscription: a connection that says nothing for long is asked whether it lives."""

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
    """Hand on what comes, subscribing too, for as long as `going` says, asked every `look_s`.

    Raises redis.RedisError when the connection is lost, or when it did not answer for twice PING_S: a loss
    without a word (a router that forgot, an address that moved) is none that the kernel knows of.
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
