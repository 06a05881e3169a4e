"""Tokens: make and revoke. Only the action that makes a token gives out its secret."""

from __future__ import annotations

from datetime import datetime

from app.actions.actor import Actor
from app.actions.errors import Missing
from app.ledger import events, tokens
from app.ledger.db import Ledger
from app.ledger.tokens import Token


def create(
    ledger: Ledger, actor: Actor, kind: str, owner: str, uses: int | None, expires_at: datetime | None
) -> tuple[Token, str]:
    """A new token and its secret, which nobody can read again."""
    with ledger.transaction() as tx:
        token, secret = tokens.create(tx, kind, owner, uses=uses, expires_at=expires_at)
        events.record(tx, "token.created", f"a token of kind {token.kind} for {token.owner}", actor=actor.name)
    return token, secret


def revoke(ledger: Ledger, actor: Actor, token: str) -> None:
    """Revoke the token of this id: whoever uses it is refused. Raises Missing."""
    with ledger.transaction() as tx:
        if not tokens.revoke(tx, token):
            raise Missing("there is no such token, or it was revoked before")
        events.record(tx, "token.revoked", f"token {token} was revoked", actor=actor.name)
