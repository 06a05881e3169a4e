"""Agents join over HTTP: an offer is admitted, proved, and only then registered as a worker's incarnation."""

from __future__ import annotations

from flask import Response, abort
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, RootModel

from app.actions import joins
from app.ledger import events, policy, tokens
from app.ledger.registry import joins as ledger_joins
from app.ledger.registry import workers
from app.ledger.registry.joins import Join
from app.pool.codec import from_json, plain
from app.pool.errors import BadRequest
from app.pool.model import Worker
from app.pool.protocol import Admission, Check, Offer, Wanted
from app.pool.wanted import wanted_of
from app.web.http import blueprints
from app.web.http.auth import bearer_secret, caller
from app.web.http.problems import problem
from app.web.http.responses import answer
from app.web.http.schemas import JoinPath
from app.web.http.services import services
from app.web.http.strict_json import json_only

LONGEST_S = 30  # from the offer to the last look for the present incarnation
RETRY_S = 0.5

offers = blueprints.group("agents", reads=(), writes=("join", "agent"))
confirmations = APIBlueprint(
    "confirmations",
    __name__,
    abp_tags=[Tag(name="agents")],
    abp_security=[{"bearer": []}],
    abp_responses={status: blueprints.problem_response() for status in (401, 404, 409, 503)},
)
confirmations.before_request(json_only)


class OfferBody(RootModel[Offer]):
    """What an agent is; fields that this server does not know are ignored."""


class AdmissionAnswer(RootModel[Admission]):
    """How the agent goes on."""


class ConfirmedAnswer(BaseModel):
    """The worker is registered."""

    checks: list[Check]
    wanted: Wanted


class AskAgainAnswer(BaseModel):
    """The worker's present incarnation may still live."""

    checks: list[Check]
    retry_after_s: float


@offers.post("/agent/v1/join", responses={201: AdmissionAnswer})
def begin(body: OfferBody) -> Response:
    """Admit an agent; nothing is registered yet."""
    offer = body.root
    errors = joins.offer_errors(offer)
    if errors:
        raise BadRequest("this offer cannot be taken", errors)
    worker = _worker_of(offer)
    secret = tokens.new_secret("agent")
    admitted_by = caller().token if caller().kind == "join" else None
    ledger = services().ledger
    join = ledger_joins.begin(ledger, worker.id if worker else None, offer, tokens.digest(secret), admitted_by)
    return answer(AdmissionAnswer(_admission(join, secret, worker)), 201)


@confirmations.post("/agent/v1/join/<id:join>/confirm", responses={200: ConfirmedAnswer, 202: AskAgainAnswer})
def confirm(path: JoinPath) -> Response:
    """Check a join and register its worker; 202 asks to come again."""
    join = _join(path.join)
    checks = [] if join.confirmed else joins.look(services(), join)
    failed = [check for check in checks if not check.ok]
    if [check.name for check in failed] == [joins.ALONE] and join.age_s < LONGEST_S:
        return answer(AskAgainAnswer(checks=checks, retry_after_s=RETRY_S), 202)
    if failed:
        detail = f"{failed[0].name}: {failed[0].detail}; {failed[0].next_step}"
        return problem(409, detail, checks=plain(checks))
    worker = workers.find(services().ledger, join.worker) if join.confirmed else _register(join)
    if worker is None:
        newer = "a newer agent of this worker has joined meanwhile; start this one again"
        return problem(409, newer, checks=plain(checks))
    services().ring(f"worker {join.worker}")
    return answer(ConfirmedAnswer(checks=checks, wanted=_wanted(worker)))


def _worker_of(offer: Offer) -> Worker | None:
    """The registered worker that this agent is; None for a new one."""
    ledger = services().ledger
    known = ledger_joins.by_identity(ledger, ledger_joins.identity_of(offer))
    mine = caller().worker
    own = workers.find(ledger, mine) if mine else None
    if own and known and own.id != known.id:
        abort(403, f"this token is {own.name}'s, but this host is {known.name}; join with a join token instead")
    return own or known


def _join(name: str) -> Join:
    join = ledger_joins.find(services().ledger, name)
    if join is None:
        abort(404, "there is no such join; begin anew with POST /agent/v1/join")
    if tokens.digest(bearer_secret() or "") != join.token_sha256:
        abort(problem(401, "send the token of this join's admission", headers={"WWW-Authenticate": "Bearer"}))
    return join


def _register(join: Join) -> Worker | None:
    with services().ledger.transaction() as tx:
        if join.admitted_by and not tokens.spend(tx, join.admitted_by):
            abort(403, "the join token was spent, revoked or has expired meanwhile; ask an admin for a new one")
        worker = ledger_joins.confirm(tx, join)
        if worker:
            sentence = f"{worker.name} joined on {worker.hostname} (incarnation {worker.incarnation})"
            events.record(tx, "worker.joined", sentence, worker=worker.id)
    return worker


def _admission(join: Join, secret: str, worker: Worker | None) -> Admission:
    settings = services().settings
    return Admission(
        join=join.id,
        worker=join.worker,
        incarnation=join.incarnation,
        nonce=join.nonce,
        answer=join.answer,
        token=secret,
        redis_url=settings.agent_redis_url,
        rq_redis_url=settings.agent_rq_redis_url,
        prefix=settings.prefix,
        wanted=_wanted(worker),
    )


def _wanted(worker: Worker | None) -> Wanted:
    """What the coordinator last wrote for this worker, or what it will write first, as number 0."""
    written = worker and services().redis.hget(services().keys.worker(worker.id), "wanted")
    if written:
        return from_json(Wanted, written)
    return wanted_of(worker, policy.read(services().ledger))
