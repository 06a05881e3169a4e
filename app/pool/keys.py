"""Every Redis key: its name, type, life and one writer. No other file names a key.

| key             | type          | writer      | life                                     |
| --------------- | ------------- | ----------- | ---------------------------------------- |
| generation      | string        | coordinator | for ever; gone or new: Redis forgot      |
| beat:{worker}   | string, PX    | agent       | the policy's TTL                         |
| join:{nonce}    | string, PX    | agent       | JOIN_MS                                  |
| out:{worker}    | stream        | agent       | until applied (the coordinator deletes)  |
| lease:{worker}  | hash          | coordinator | job -> Lease, until reconciled           |
| worker:{worker} | hash          | coordinator | while the worker is registered           |
| load            | zset          | coordinator | every live worker -> load                |
| turn            | string        | coordinator | counts placements                        |
| eligible:{set}  | zset          | coordinator | workers of one kind with room, by score  |
| bell:{worker}   | channel       | coordinator | a message says: look now                 |
| bell            | channel       | all         | the coordinator's own bell               |

RQ's keys lie in another database; only the queue's and the envelope's names are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.pool.model import ID_LENGTH, JobId, WorkerId
from app.pool.parameters import whole

JOIN_MS = 60_000
FUNCTION = "agent.guard.run"  # a token on the wire, not a path: every envelope names it, and a slot refuses any other
QUEUE_PREFIX = "w-"


@dataclass(frozen=True)
class Keys:
    """The names of the pool's keys under one prefix; the table above says what each holds."""

    prefix: str

    @property
    def generation(self) -> str:
        return f"{self.prefix}generation"

    @property
    def load(self) -> str:
        return f"{self.prefix}load"

    @property
    def turn(self) -> str:
        return f"{self.prefix}turn"

    @property
    def bell(self) -> str:
        return f"{self.prefix}bell"

    @property
    def eligible_prefix(self) -> str:
        return f"{self.prefix}eligible:"

    @property
    def lease_prefix(self) -> str:
        return f"{self.prefix}lease:"

    @property
    def worker_prefix(self) -> str:
        return f"{self.prefix}worker:"

    @property
    def beat_prefix(self) -> str:
        return f"{self.prefix}beat:"

    @property
    def out_prefix(self) -> str:
        return f"{self.prefix}out:"

    def beat(self, worker: WorkerId) -> str:
        return f"{self.beat_prefix}{worker}"

    def join(self, nonce: str) -> str:
        return f"{self.prefix}join:{nonce}"

    def out(self, worker: WorkerId) -> str:
        return f"{self.out_prefix}{worker}"

    def lease(self, worker: WorkerId) -> str:
        return f"{self.lease_prefix}{worker}"

    def worker(self, worker: WorkerId) -> str:
        return f"{self.worker_prefix}{worker}"

    def eligible(self, name: str) -> str:
        return f"{self.eligible_prefix}{name}"

    def bell_of(self, worker: WorkerId) -> str:
        return f"{self.prefix}bell:{worker}"


def queue(worker: WorkerId) -> str:
    """The name of the worker's one RQ queue (RQ's key is `rq:queue:` and this)."""
    return f"{QUEUE_PREFIX}{worker}"


def envelope_id(worker: WorkerId, job: JobId, attempt: int) -> str:
    """RQ's job id of an attempt; begins with the worker's id because Redis ACLs are cut by it."""
    return f"{worker}_{job}_a{attempt}"


def envelope_parts(envelope: str) -> tuple[WorkerId, JobId, int] | None:
    """(worker, job, attempt) of an envelope's id, or None when it is not one of ours."""
    worker, _, rest = envelope.partition("_")
    job, _, text = rest.partition("_a")
    number = whole(text)
    if len(worker) != ID_LENGTH or len(job) != ID_LENGTH or number is None:
        return None
    return WorkerId(worker), JobId(job), number
