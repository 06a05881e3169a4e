"""Agents send the logs of their attempts here, in portions that are stored as they come."""

from __future__ import annotations

from flask import Response, abort, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, ConfigDict, Field

from app.ledger import logs, policy
from app.ledger.logs import StoreOutcome
from app.pool.log.portion import MOST_PACKED_BYTES, PortionHead
from app.pool.model import MIB, JobId, WorkerId
from app.web.http import auth, blueprints
from app.web.http.auth import caller
from app.web.http.services import services

MOST = 2**53

blueprint = APIBlueprint(
    "agent logs",
    __name__,
    abp_tags=[Tag(name="agents")],
    abp_security=[{"bearer": []}],
    abp_responses={status: blueprints.problem_response() for status in (401, 403, 404, 411, 413, 422, 503)},
)
auth.guard(blueprint, reads=(), writes=("agent",))


class PortionPath(BaseModel):
    """A portion of an attempt's log; numbers begin at 1."""

    job: str
    attempt: int = Field(ge=1, le=2**31 - 1)
    number: int = Field(ge=1, le=2**31 - 1)


class PortionQuery(BaseModel):
    """Where the portion lies in its log; bytes are of text, line ends counted."""

    model_config = ConfigDict(extra="ignore")

    first_line: int = Field(ge=1, le=MOST)
    lines: int = Field(ge=0, le=MOST)
    first_byte: int = Field(ge=0, le=MOST)
    bytes: int = Field(ge=0, le=MOST)
    closed: bool = False


@blueprint.post("/agent/v1/logs/<id:job>/<int:attempt>/<int:number>", responses={204: None})
def store(path: PortionPath, query: PortionQuery) -> Response:
    """Store a portion of a log once; the body is the compressed portion. Sent again, it changes nothing."""
    request.max_content_length = MOST_PACKED_BYTES
    if request.content_length is None:
        abort(411, "send the portion with its Content-Length")
    ledger = services().ledger
    head = PortionHead(number=path.number, **query.model_dump())
    kept_bytes = policy.read(ledger).log_kept_mib * MIB
    worker, job = WorkerId(caller().worker or ""), JobId(path.job)
    stored = logs.store(ledger, job, path.attempt, worker, head, request.get_data(cache=False), kept_bytes)
    if stored is StoreOutcome.UNKNOWN:
        abort(404, "this worker has had no such attempt")
    return Response(status=204)
