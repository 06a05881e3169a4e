"""Hints: one subscription that tells the leader's loop where to look first.

It hears keyspace events (an entry in a worker's stream, a beat that expired) and the coordinator's own bell.
People's changes ring that bell, and so do agents whose beat tells of more slots than the last.
A hint that is lost costs time, never truth: everything is looked at anyway, in a large fleet in batches.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from app.pool.backoff import Outage
from app.pool.keys import Keys
from app.pool.loop import Bell
from app.pool.model import JobId, WorkerId
from app.pool.subscription import listen

log = logging.getLogger(__name__)

FLAGS = "Ktx"  # events by key; of streams; of what expired
BLIND_S = 0.2  # seconds between reads of reports where the server sends no events
LISTEN_S = 1.0


@dataclass
class Hint:
    """Where to look; `everything` after a reconnect, when hints may have been lost."""

    reports: set[WorkerId] = field(default_factory=set)
    jobs: bool = False
    cancelled: set[JobId] = field(default_factory=set)
    fleet: bool = False  # a worker or the policy changed
    beats: bool = False
    everything: bool = False


class Hints:
    """Collects hints in a thread (`run`); the loop takes them."""

    def __init__(self, client: Any, keys: Keys, wake: Callable[[], None]) -> None:
        self._client = client
        self._keys = keys
        self._wake = wake
        self.bell = Bell()
        self._lock = threading.Lock()
        self._hint = Hint(everything=True)
        database = client.connection_pool.connection_kwargs.get("db", 0)
        self._space = f"__keyspace@{database}__:"
        self._lost = Outage(log, "hints: Redis does not answer, looking each second")
        self.events = False  # whether the server sends keyspace events

    def take(self) -> Hint:
        """All hints since the last call."""
        with self._lock:
            hint, self._hint = self._hint, Hint()
        return hint

    def run(self) -> None:
        """Listen until the bell is stopped; connects again whenever Redis is away."""
        while not self.bell.stopped:
            try:
                self._listen()
            except redis.RedisError as error:
                self.bell.wait(self._lost.failed(error))

    def _listen(self) -> None:
        self.events = allow_events(self._client)
        with self._client.pubsub() as pubsub:
            pubsub.subscribe(self._keys.bell)
            pubsub.psubscribe(f"{self._space}{self._keys.out_prefix}*", f"{self._space}{self._keys.beat_prefix}*")
            listen(pubsub, self._heard, lambda: not self.bell.stopped, LISTEN_S)

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] == "psubscribe":  # the last answer to our asking
            self._lost.over()
            self._note(Hint(everything=True))
        elif message["type"] in ("message", "pmessage"):
            self._said(message["channel"], message["data"])

    def _said(self, channel: str, data: str) -> None:
        key = channel.removeprefix(self._space)
        if channel == self._keys.bell:
            self._rung(data)
        elif data == "xadd":
            self._note(Hint(reports={WorkerId(key.removeprefix(self._keys.out_prefix))}))
        elif data == "expired":
            self._note(Hint(beats=True))

    def _rung(self, message: str) -> None:
        subject, _, about = message.partition(" ")
        if subject == "jobs":
            self._note(Hint(jobs=True))
        elif subject == "beats":
            self._note(Hint(beats=True))
        elif subject == "job":
            self._note(Hint(jobs=True, cancelled={JobId(about)}))
        else:
            self._note(Hint(jobs=True, fleet=True))

    def _note(self, new: Hint) -> None:
        with self._lock:
            hint = self._hint
            hint.reports |= new.reports
            hint.cancelled |= new.cancelled
            hint.jobs |= new.jobs
            hint.fleet |= new.fleet
            hint.beats |= new.beats
            hint.everything |= new.everything
        self._wake()


def allow_events(client: Any) -> bool:
    """Add our flags to the server's keyspace events; False where CONFIG is forbidden. Raises RedisError."""
    try:
        present = client.config_get("notify-keyspace-events").get("notify-keyspace-events", "")
        lacking = "".join(flag for flag in FLAGS if flag not in present.replace("A", "g$lshzxetd"))
        if lacking:
            client.config_set("notify-keyspace-events", present + lacking)
    except redis.ResponseError as error:
        log.warning("hints: the server allows no keyspace events, reports are looked for each %s s: %s", BLIND_S, error)
        return False
    return True
