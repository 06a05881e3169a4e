"""Agents join over HTTP: an offer is admitted, proved, and only then registered as a worker's incarnation."""

from __future__ import annotations

from flask import Response, abort
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, RootModel

from app.actions import joins
from app.ledger import tokens
from app.ledger.registry.joins import Join
from app.pool.agent_http import Admission, Check, Offer
from app.pool.codec import plain
from app.pool.protocol import Wanted
from app.web.http import blueprints
from app.web.http.auth import bearer_secret, caller
from app.web.http.problems import problem
from app.web.http.responses import answer
from app.web.http.schemas import JoinPath
from app.web.http.services import services
from app.web.http.strict_json import json_only

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
    return answer(AdmissionAnswer(joins.begin(services(), caller(), body.root)), 201)


@confirmations.post("/agent/v1/join/<id:join>/confirm", responses={200: ConfirmedAnswer, 202: AskAgainAnswer})
def confirm(path: JoinPath) -> Response:
    """Check a join and register its worker; 202 asks to come again."""
    confirmation = joins.confirm(services(), _join(path.join))
    if confirmation.refused:
        return problem(409, confirmation.refused, checks=plain(confirmation.checks))
    if confirmation.wanted is None:
        return answer(AskAgainAnswer(checks=confirmation.checks, retry_after_s=RETRY_S), 202)
    return answer(ConfirmedAnswer(checks=confirmation.checks, wanted=confirmation.wanted))


def _join(name: str) -> Join:
    # The token of an admission is no token of the ledger before the join is confirmed: it is compared here.
    join = joins.find(services().ledger, name)
    if tokens.digest(bearer_secret() or "") != join.token_sha256:
        abort(problem(401, "send the token of this join's admission", headers={"WWW-Authenticate": "Bearer"}))
    return join
