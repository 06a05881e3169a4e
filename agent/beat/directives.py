"""The coordinator's directives to a worker: its leases, its `wanted`, its present incarnation, the generation.

They are read in one pipeline with each beat, and at once when the bell rings; both ways they say the same. Of the
leases only those of attempts that the worker has are read: others ask nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from agent.ipc.link import Message
from app.pool.codec import from_json, plain
from app.pool.keys import Keys
from app.pool.model import JobId, WorkerId
from app.pool.protocol import Wanted


def ask(pipe: Any, keys: Keys, worker: WorkerId, jobs: Sequence[JobId]) -> None:
    """Put the questions at the end of a pipeline; `understand` takes the answers to them."""
    if jobs:
        pipe.hmget(keys.lease(worker), jobs)
    pipe.hmget(keys.worker(worker), ["wanted", "incarnation"])
    pipe.get(keys.generation)


def understand(jobs: Sequence[JobId], answers: Sequence[Any]) -> Message:
    """The answers as a message: `leases` (job -> JSON), `wanted` (a Wanted as a dict, or None), `incarnation` (a
    number or None), `generation` (text or None)."""
    *leases, (wanted, incarnation), generation = answers
    return {
        "leases": {job: text for job, text in zip(jobs, leases[0]) if text is not None} if leases else {},
        "wanted": plain(_wanted(wanted)) if wanted else None,
        "incarnation": as_number(incarnation),
        "generation": generation,
    }


def read(keys: Keys, worker: WorkerId, redis: Any, jobs: Sequence[JobId]) -> Message:
    """Read the directives apart from a beat; the message of `understand`. Raises redis.RedisError."""
    with redis.pipeline(transaction=False) as pipe:
        ask(pipe, keys, worker, jobs)
        return understand(jobs, pipe.execute())


def as_number(text: Any) -> int | None:
    """A number as Redis holds it; None where there is none."""
    return int(text) if text and str(text).isdigit() else None


@lru_cache(maxsize=1)
def _wanted(text: str) -> Wanted:
    """The text hardly ever changes, so the last one is remembered."""
    return from_json(Wanted, text)
