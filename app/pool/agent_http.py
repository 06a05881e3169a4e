"""What agents and servers say to each other over HTTP, as JSON: the join, and a call to an agent's own address.

Unknown fields are ignored in both directions, as in protocol.py.

A call asks who is there now. Three answers are told apart because they prove different things: somebody
answered (and says who), the host refused (nobody listens there), or nothing came back (which proves nothing).
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from enum import Enum

from app.pool.codec import from_json
from app.pool.model import Gpu, WorkerId, Workflow
from app.pool.protocol import Wanted

MOST_BYTES = 16 * 1024
CALL_ERRORS = (OSError, http.client.HTTPException, ValueError)  # the last: an answer that no agent gives


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


class NoAnswer(Enum):
    """How a call failed to tell who is there."""

    REFUSED = "refused"
    SILENT = "silent"


def ask_who(address: str, port: int, timeout_s: float) -> WhoIs:
    """What the agent on this address and port answers to GET /. Raises one of CALL_ERRORS where no agent answers."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return from_json(WhoIs, connection.getresponse().read(MOST_BYTES))
    finally:
        connection.close()


def who_is(address: str, port: int, timeout_s: float) -> WhoIs | NoAnswer:
    """Who answers GET / on this address and port; raises nothing. All but an agent's own answer counts as silence."""
    try:
        return ask_who(address, port, timeout_s)
    except ConnectionRefusedError:
        return NoAnswer.REFUSED
    except CALL_ERRORS:
        return NoAnswer.SILENT
