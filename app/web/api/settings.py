"""The pool's settings over HTTP: read, and changed all or none. The ranges are app/pool/policy.py's.

The ETag is the settings' version, so of two people who change what they saw the second is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from flask import Response, abort
from pydantic import BaseModel, Field, WithJsonSchema, create_model

from app.ledger import events, policy
from app.ledger.db import Ledger
from app.pool.errors import BadRequest
from app.pool.model import Json
from app.pool.policy import CHOICES, DEFAULTS, NAMES, NULLABLE, RANGES, Policy, changed
from app.web.http import blueprints, etags
from app.web.http.auth import caller
from app.web.http.etags import Matches
from app.web.http.schemas import Body, MatchHeader
from app.web.http.services import services

blueprint = blueprints.group("settings", reads=("admin", "read"))

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


@blueprint.get("/admin/settings", responses={200: SettingsAnswer})
def read() -> Response:
    """Look at the pool's settings."""
    return _shown(policy.read(services().ledger))


@blueprint.patch("/admin/settings", responses={200: SettingsAnswer, 412: blueprints.problem_response()})
def change(header: MatchHeader, body: SettingsBody) -> Response:
    """Change these settings, all or none; agents hear of it with their next heartbeat."""
    return _shown(apply(body.model_dump(exclude_unset=True), etags.condition(header)))


def apply(changes: dict[str, Json], matches: Matches | None = None) -> Policy:
    """The settings with these changes, written and rung. Raises BadRequest by pointer; 412 where `matches` says no."""
    with services().ledger.transaction() as tx:
        written = _write(tx, changes, matches)
        if changes:
            told = ", ".join(f"{name} = {getattr(written, name)}" for name in changes)
            events.record(tx, "settings.changed", f"{caller().owner} set {told}", actor=caller().owner)
    services().ring("settings")
    return written


def _write(tx: Ledger, changes: dict[str, Json], matches: Matches | None) -> Policy:
    present = policy.read(tx)
    known = policy.version(present)
    try:
        changed(present, changes)  # what is bad is told before what is stale
        etags.check(matches, known)
        # It compares `known` under its lock: somebody may have been faster since it was read.
        written = policy.write(tx, changes, caller().owner, None if matches is None else known)
    except BadRequest as error:
        raise BadRequest(str(error), [(f"/{name}", why) for name, why in error.errors]) from error
    if written is None:
        abort(412, etags.STALE)
    return written


def _shown(found: Policy) -> Response:
    return etags.shown(SettingsAnswer(**{name: getattr(found, name) for name in NAMES}), policy.version(found))
