"""The bell listener: main's subscription to its worker's bell in Redis.

A ring decides nothing: it says "look now". The subscription itself is also the worker's presence: the
coordinator asks Redis who is subscribed. It is a connection of main's own process, so the kernel closes it
in the moment in which main dies, however main dies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import redis

from agent.redis_client import connect
from app.pool.backoff import Backoff, Outage
from app.pool.subscription import listen

log = logging.getLogger(__name__)

MOST_PAUSE_S = 0.1  # between tries to be present again: half of what presence may be missed for


class BellListener:
    """A subscription to one channel that is renewed for as long as the process lives.

    `run` is for a thread of its own. In it `rung` is called for each ring, with a client of Redis to look with, and
    `subscribed` after each connection: what was rung before it is lost.
    """

    def __init__(
        self, url: str, channel: str, rung: Callable[[redis.Redis], None], subscribed: Callable[[], None]
    ) -> None:
        self._url = url
        self._channel = channel
        self._rung = rung
        self._subscribed = subscribed
        self._lost = Outage(log, "bell lost")

    def run(self) -> None:
        """Listen for ever; a lost connection is replaced at once, after that with small pauses."""
        while True:
            try:
                self._listen()
            except redis.RedisError as error:
                time.sleep(self._lost.failed(error, Backoff(0.01, MOST_PAUSE_S), at_once=True))

    def _listen(self) -> None:
        with connect(self._url) as client, client.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            listen(pubsub, lambda message: self._heard(message["type"], client))

    def _heard(self, kind: str, client: redis.Redis) -> None:
        if kind == "subscribe":
            self._lost.over()
            self._subscribed()
        elif kind == "message":
            self._rung(client)
