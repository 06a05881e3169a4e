"""The pool's settings over HTTP: read, and changed all or none. The ranges are app/pool/policy.py's.

The ETag is the settings' version, so of two people who change what they saw the second is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from flask import Response, abort, request
from pydantic import BaseModel, Field, WithJsonSchema, create_model

from app.ledger import events, policy
from app.pool.errors import BadRequest
from app.pool.model import Json
from app.pool.policy import CHOICES, DEFAULTS, NAMES, NULLABLE, RANGES, Policy, changed
from app.web import api
from app.web.answers import answer
from app.web.auth import caller
from app.web.schemas import Body
from app.web.services import services

blueprint = api.group("settings", reads=("admin", "read"))

LABELS = {
    "heartbeat_interval_s": "Heartbeat interval",
    "missed_beats": "Missed heartbeats",
    "fast_failover": "Fast failover",
    "strict": "Strict",
    "max_orphan_s": "Cut-off jobs run on for",
    "cancel_grace_s": "Grace for cancelled jobs",
    "queue_depth": "Queue depth",
    "timeout_s": "Time limit of an attempt",
    "stall_s": "Longest silence of an attempt",
    "poison_deaths": "Deaths that make a job poison",
    "block_failures": "Failures in a row that block",
    "block_s": "Blocked for",
    "strategy": "Strategy",
    "w_gpu": "Weight of GPU use",
    "w_queue": "Weight of jobs held",
    "w_vram": "Weight of GPU memory",
    "prefer_weight": "Worth of a preferred tag",
    "vram_reserve_mb": "GPU memory kept back (MiB)",
}
HELP = {
    "heartbeat_interval_s": "How often each worker says that it lives.",
    "missed_beats": "So many heartbeats may be missed before a worker is degraded; after one more it is down.",
    "fast_failover": "Act at once on a lost connection; switched off, silence alone decides.",
    "strict": "No two attempts of any job ever overlap; moving a job off a silent host takes longer.",
    "max_orphan_s": "How long a job that is not strict goes on while its host is cut off.",
    "cancel_grace_s": "How long a cancelled job may take to stop before it is killed.",
    "queue_depth": "So many jobs may wait behind each worker's slots.",
    "timeout_s": "The longest that an attempt may run, where neither job nor workflow says; empty: no limit.",
    "stall_s": "How long an attempt may be silent (no progress, log line or checkpoint); empty: no limit.",
    "poison_deaths": "A job under which so many workers died, without a checkpoint in between, is failed.",
    "block_failures": "A worker is blocked for a workflow that failed there so often in a row while others succeed.",
    "block_s": "How long a worker is blocked for a workflow, unless a person forgives it.",
    "strategy": "Which of the workers that fit gets a job: the least loaded; the one that waited longest for one; "
    "or the one with the least to spare, so that the able ones stay free for what only they can do.",
    "w_gpu": "How much the use of its GPUs counts in a worker's load; of a worker without a GPU, that of its CPUs.",
    "w_queue": "How much the jobs that it holds count, against its slots.",
    "w_vram": "How much the GPU memory in use counts.",
    "prefer_weight": "So much load a worker may have more and still win, where it has a preferred tag of weight 1.",
    "vram_reserve_mb": "So much of each card's memory is never given to jobs: driver and contexts take some too.",
}


def _schema(name: str) -> dict[str, Any]:
    """How the document describes a setting; what checks it is the policy, which names the range."""
    default = getattr(DEFAULTS, name)
    if isinstance(default, bool):
        return {"type": "boolean"}
    if name in CHOICES:
        return {"type": "string", "enum": list(CHOICES[name])}
    low, high = RANGES[name]
    number = {"type": "number" if isinstance(default, float) else "integer", "minimum": low, "maximum": high}
    return {"anyOf": [number, {"type": "null"}]} if name in NULLABLE else number


def _model(title: str, base: type[BaseModel]) -> Any:
    shapes: dict[str, Any] = {
        name: (Annotated[Any, WithJsonSchema(_schema(name))], Field(getattr(DEFAULTS, name), description=HELP[name]))
        for name in NAMES
    }
    return create_model(title, __base__=base, __module__=__name__, **shapes)


if TYPE_CHECKING:

    class SettingsAnswer(BaseModel):
        """The pool's settings; made from the policy's fields."""

        def __init__(self, **settings: Json) -> None: ...

    class SettingsBody(Body):
        """Settings to be changed; those that are not named stay."""

else:
    SettingsAnswer = _model("SettingsAnswer", BaseModel)
    SettingsBody = _model("SettingsBody", Body)


class MatchHeader(BaseModel):
    """Which version of the settings the caller has seen."""

    if_match: str | None = Field(None, alias="If-Match", max_length=1000, description="the ETag; stale: 412")


@blueprint.get("/admin/settings", responses={200: SettingsAnswer})
def read() -> Response:
    """Look at the pool's settings."""
    return _shown(policy.read(services().ledger))


@blueprint.patch("/admin/settings", responses={200: SettingsAnswer, 412: api.problem_response()})
def change(header: MatchHeader, body: SettingsBody) -> Response:
    """Change these settings, all or none; agents hear of it with their next heartbeat."""
    present, changes = policy.read(services().ledger), body.model_dump(exclude_unset=True)
    _check(present, changes)
    known = policy.version(present)
    if header.if_match is not None and not request.if_match.contains(known):
        abort(412, STALE)
    return _shown(apply(changes, None if header.if_match is None else known))


STALE = "somebody has changed the settings since you read them; read them again"


def apply(changes: dict[str, Json], known: str | None) -> Policy:
    """The settings with these changes, written and rung. Raises BadRequest by pointer; 412 for a stale `known`."""
    with services().ledger.transaction() as tx:
        _check(policy.read(tx), changes)
        written = policy.write(tx, changes, caller().owner, known)
        if written is None:
            abort(412, STALE)
        if changes:
            told = ", ".join(f"{name} = {getattr(written, name)}" for name in changes)
            events.record(tx, "settings.changed", f"{caller().owner} set {told}", actor=caller().owner)
    services().ring("settings")
    return written


def _check(present: Policy, changes: dict[str, Json]) -> None:
    try:
        changed(present, changes)
    except BadRequest as error:
        raise BadRequest(str(error), [(f"/{name}", why) for name, why in error.errors]) from error


def _shown(found: Policy) -> Response:
    response = answer(SettingsAnswer(**{name: getattr(found, name) for name in NAMES}))
    response.set_etag(policy.version(found))
    response.headers["Cache-Control"] = "private, no-cache"
    return response
