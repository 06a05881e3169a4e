"""Joins: an agent's offer is admitted, proved, and only then registered as a worker's incarnation.

`begin` registers nothing. The agent answers through Redis, through the output folder and at its own address;
`confirm` looks at these answers and registers the worker. A confirmation may be repeated: once a join is confirmed,
the answer is the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.actions import join_checks
from app.actions.actor import Actor
from app.actions.errors import Forbidden, Missing
from app.actions.services import Services
from app.ledger import events, policy, tokens
from app.ledger.db import Ledger
from app.ledger.registry import joins, workers
from app.ledger.registry.joins import Join
from app.pool.agent_http import Admission, Check, Offer
from app.pool.codec import from_json
from app.pool.errors import BadRequest
from app.pool.model import Worker
from app.pool.protocol import Wanted
from app.pool.wanted import wanted_of

LONGEST_S = 30  # from the offer to the last look for the present incarnation
NEWER = "a newer agent of this worker has joined meanwhile; start this one again"


@dataclass(frozen=True)
class Confirmation:
    """The outcome of a confirmation: registered (`wanted`), refused with a reason, or, with neither, to be repeated."""

    checks: list[Check]
    wanted: Wanted | None = None
    refused: str | None = None


def begin(services: Services, actor: Actor, offer: Offer) -> Admission:
    """The admission, by which the agent goes on; nothing is registered yet.

    Raises Forbidden, and BadRequest naming what cannot be registered.
    """
    errors = _offer_errors(offer)
    if errors:
        raise BadRequest("this offer cannot be taken", errors)
    worker = _worker_of(services.ledger, actor, offer)
    secret = tokens.new_secret("agent")
    admitted_by = actor.token if actor.role == "join" else None
    join = joins.begin(services.ledger, worker.id if worker else None, offer, tokens.digest(secret), admitted_by)
    return _admission(services, join, secret, worker)


def find(ledger: Ledger, join: str) -> Join:
    """The join under way. Raises Missing."""
    found = joins.find(ledger, join)
    if found is None:
        raise Missing("there is no such join; begin anew with POST /agent/v1/join")
    return found


def confirm(services: Services, join: Join) -> Confirmation:
    """Check the join, register its worker and ring; may be repeated.

    Raises Forbidden where its join token was spent meanwhile; Unavailable, Collided, RedisError.
    """
    checks = [] if join.confirmed else join_checks.look(services, join)
    failed = [check for check in checks if not check.ok]
    if [check.name for check in failed] == [join_checks.ALONE] and join.age_s < LONGEST_S:
        return Confirmation(checks)
    if failed:
        return Confirmation(checks, refused=f"{failed[0].name}: {failed[0].detail}; {failed[0].next_step}")
    worker = workers.find(services.ledger, join.worker) if join.confirmed else _register(services.ledger, join)
    if worker is None:
        return Confirmation(checks, refused=NEWER)
    services.ring(f"worker {join.worker}")
    return Confirmation(checks, wanted=_wanted(services, worker))


def _worker_of(ledger: Ledger, actor: Actor, offer: Offer) -> Worker | None:
    """The registered worker that this agent is; None for a new one."""
    on_host = joins.by_identity(ledger, joins.identity_of(offer))
    own = workers.find(ledger, actor.worker) if actor.worker else None
    if own and on_host and own.id != on_host.id:
        raise Forbidden(f"this token is {own.name}'s, but this host is {on_host.name}; join with a join token instead")
    return own or on_host


def _register(ledger: Ledger, join: Join) -> Worker | None:
    with ledger.transaction() as tx:
        if join.admitted_by and not tokens.spend(tx, join.admitted_by):
            raise Forbidden("the join token was spent, revoked or has expired meanwhile; ask an admin for a new one")
        worker = joins.confirm(tx, join)
        if worker:
            sentence = f"{worker.name} joined on {worker.hostname} (incarnation {worker.incarnation})"
            events.record(tx, "worker.joined", sentence, worker=worker.id)
    return worker


def _admission(services: Services, join: Join, secret: str, worker: Worker | None) -> Admission:
    return Admission(
        join=join.id,
        worker=join.worker,
        incarnation=join.incarnation,
        nonce=join.nonce,
        answer=join.answer,
        token=secret,
        redis_url=services.settings.agent_redis_url,
        rq_redis_url=services.settings.agent_rq_redis_url,
        prefix=services.settings.prefix,
        wanted=_wanted(services, worker),
    )


def _wanted(services: Services, worker: Worker | None) -> Wanted:
    """The directives that the coordinator last wrote for this worker, or will write first (number 0)."""
    written = worker and services.redis.hget(services.keys.worker(worker.id), "wanted")
    if written:
        return from_json(Wanted, written)
    return wanted_of(worker, policy.read(services.ledger))


def _offer_errors(offer: Offer) -> list[tuple[str, str]]:
    """The fields of an offer that cannot be registered, with the reasons."""
    lengths = {"name": 63, "hostname": 255, "machine_id": 255, "boot_id": 255, "version": 100}
    errors = [
        (f"/{name}", f"must have 1 to {most} characters")
        for name, most in lengths.items()
        if not 1 <= len(getattr(offer, name)) <= most
    ]
    ranges = {"slots": (1, 64), "port": (1, 65535), "pid": (1, 2**31 - 1)}
    for name, (least, most) in ranges.items():
        value = getattr(offer, name)
        if value is not None and not least <= value <= most:
            errors.append((f"/{name}", f"must be from {least} to {most}"))
    for place, gpu in enumerate(offer.gpus):
        if not (gpu.uuid and 0 <= gpu.index < 1024 and 0 <= gpu.vram_mb < 2**31):
            errors.append((f"/gpus/{place}", "must have a uuid, an index and its memory in MiB"))
    if offer.address and not re.fullmatch(r"[0-9A-Za-z.:_-]{1,253}", offer.address):
        errors.append(("/address", "must be a host's name or address"))
    return errors
