"""What an agent and the server say to each other when it joins, and what it answers on its address; as JSON.

Unknown fields are ignored in both directions, as in protocol.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.pool.model import Gpu, WorkerId, Workflow
from app.pool.protocol import Wanted


@dataclass(frozen=True)
class Offer:
    """What an agent says that it is, when it asks to join (POST /agent/v1/join)."""

    machine_id: str
    boot_id: str
    hostname: str
    name: str
    slots: int
    version: str
    pid: int
    worker: WorkerId | None = None  # of a re-join, with this worker's own token
    address: str | None = None
    port: int | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_reason: str | None = None
    driver: str | None = None
    workflows: tuple[Workflow, ...] = ()
    not_offered: dict[str, str] = field(default_factory=dict)  # workflow -> why
    proof_file: str = ""  # name of a file under MUSTER_OUTPUT that holds proof_text
    proof_text: str = ""


@dataclass(frozen=True)
class Admission:
    """The server's answer to an offer; nothing is registered before the join is confirmed."""

    join: str  # id of this join: POST /agent/v1/join/<id>/confirm
    worker: WorkerId
    incarnation: int
    nonce: str
    answer: str  # the agent proves its Redis by writing this to join:{nonce}
    token: str  # the worker's own; stored by the agent, valid from the confirmation on
    redis_url: str
    rq_redis_url: str
    prefix: str
    wanted: Wanted


@dataclass(frozen=True)
class Check:
    """One named check of a join; `next_step` says what to do when it failed."""

    name: str
    ok: bool
    seconds: float
    detail: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class WhoIs:
    """What a listening agent answers to GET / on its announced address."""

    worker: WorkerId
    incarnation: int
    boot_id: str
    hostname: str
    name: str
    version: str
