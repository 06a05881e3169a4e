"""Tokens over HTTP: made, listed, revoked by admins. The secret is shown once."""

from __future__ import annotations

from datetime import datetime

from flask import Response
from pydantic import BaseModel

from app.actions import tokens
from app.ledger import tokens as ledger_tokens
from app.ledger.tokens import Token
from app.web.http import blueprints
from app.web.http.auth import caller
from app.web.http.responses import answer
from app.web.http.schemas import TokenBody, TokenPath
from app.web.http.services import services

blueprint = blueprints.group("tokens", reads=("admin",))


class TokenAnswer(BaseModel):
    """A token without its secret."""

    id: str
    kind: str
    owner: str
    worker: str | None
    uses_left: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewTokenAnswer(TokenAnswer):
    """A token just made, with its secret; nobody can read it again."""

    secret: str


class TokenList(BaseModel):
    """People's and join tokens, newest first."""

    items: list[TokenAnswer]
    next: None = None


@blueprint.get("/admin/tokens", responses={200: TokenList})
def listed() -> Response:
    """List the tokens of people and for joining, revoked ones too."""
    return answer(TokenList(items=[_shown(token) for token in ledger_tokens.listed(services().ledger)]))


@blueprint.post("/admin/tokens", responses={201: NewTokenAnswer})
def create(body: TokenBody) -> Response:
    """Make a token; its secret is in this answer only."""
    token, secret = tokens.create(services().ledger, caller(), body.kind, body.owner, body.uses, body.expires_at)
    return answer(NewTokenAnswer(**_shown(token).model_dump(), secret=secret), 201)


@blueprint.delete("/admin/tokens/<id:token>", responses={204: None})
def revoke(path: TokenPath) -> Response:
    """Revoke a token; whoever uses it is refused from now on."""
    tokens.revoke(services().ledger, caller(), path.token)
    return Response(status=204)


def _shown(token: Token) -> TokenAnswer:
    return TokenAnswer(**vars(token))
