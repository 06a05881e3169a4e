"""Where one job's time goes: what can be heard and read beside it, in the order in which it happens.

Bells and keyspace events are heard by patterns, which is nobody's presence; the ledger keeps its own
times, by the host's wall clock. Nothing is asked of anybody while a job is under way; the server is made
to tell of hashes and lists too, which costs it some microseconds a job. A claim is under way while RQ
says its own first words and the workflow's process is made.
"""

from __future__ import annotations

import time
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from redis import Redis

from bench.kit.marks import Mark
from bench.kit.pool import Pool

STAGES = (  # each until the moment of its name
    "HTTP: to the insert",
    "its commit: to the coordinator's bell",
    "bell: to the place, a lease",
    "place: to the assignment",
    "its commit: to the envelope in the queue",
    "pop, fork, main: to the claim in the stream",
    "read: to the claim's statement",
    "its commit, lease: to the worker's bell",
    "guard, workflow: to the first step",
)
LEASE, STREAM, QUEUE = "__keyspace@1__:pool:lease:*", "__keyspace@1__:pool:out:*", "__keyspace@0__:rq:queue:w-*"
EVENTS = {LEASE: "hset", STREAM: "xadd", QUEUE: "rpush"}


class Trail:
    """Hears bells and reports from when it is made; moments are seconds of CLOCK_MONOTONIC."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._heard: list[tuple[str, float]] = []
        self._wall_s = time.time() - time.monotonic()
        # Kept: a client that is let go closes its connections.
        self._client: Any = Redis.from_url(pool.redis_url(1), decode_responses=True)
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        present = self._client.config_get("notify-keyspace-events")["notify-keyspace-events"] or ""
        self._client.config_set("notify-keyspace-events", present + "hl")
        pubsub.psubscribe(**dict.fromkeys(("pool:bell*", *EVENTS), self._hear))
        self._thread: Any = pubsub.run_in_thread(daemon=True)

    def stages_of(self, job: str, submitted_s: float, mark: Mark) -> list[float] | None:
        """Seconds spent in each stage; None when something of it was not heard."""
        found = self._pool.call("GET", f"/jobs/{job}")
        attempt = self._pool.call("GET", f"/jobs/{job}/attempts")["items"][0]
        rung = self._between("pool:bell", submitted_s, mark.at_s)
        said = self._between(STREAM, submitted_s, mark.at_s)
        placed = self._between(LEASE, submitted_s, mark.at_s)
        put = self._between(QUEUE, submitted_s, mark.at_s)
        assigned_s, claimed_s = self._ours(attempt["assigned_at"]), self._ours(attempt["started_at"])
        accepted = self._between("pool:bell:*", claimed_s, mark.at_s)
        if not (rung and placed and put and said and accepted):
            return None
        moments = [
            submitted_s,
            self._ours(found["created_at"]),
            rung[0],
            placed[0],
            assigned_s,
            put[0],
            said[0],
            claimed_s,
            accepted[0],
            mark.at_s,
        ]
        return [after - before for before, after in pairwise(moments)]

    def close(self) -> None:
        """Hear no more; to be called while Redis is still there."""
        self._thread.stop()
        self._thread.join()

    def forget(self) -> None:
        """Let go of what was heard so far."""
        self._heard.clear()

    def _between(self, channel: str, first_s: float, last_s: float) -> list[float]:
        return [at for name, at in list(self._heard) if fnmatchcase(name, channel) and first_s <= at <= last_s]

    def _ours(self, moment: str) -> float:
        return datetime.fromisoformat(moment).timestamp() - self._wall_s

    def _hear(self, message: Any) -> None:
        if message["data"] == EVENTS.get(message["pattern"], message["data"]):
            self._heard.append((message["channel"], time.monotonic()))
