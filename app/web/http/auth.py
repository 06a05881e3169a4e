"""Who asks: bearer tokens and their kinds. Pages ask their session instead (sessions.py)."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response, g, request

from app.actions.actor import Actor
from app.ledger import tokens
from app.ledger.tokens import Token
from app.web.http.problems import problem
from app.web.http.services import services

PEOPLE = ("admin", "creator", "read")
READERS = ("admin", "read")  # who may see hosts and others' jobs
WRITERS = ("admin", "creator")
READING = ("GET", "HEAD", "OPTIONS")


def caller() -> Actor:
    """The person or program that makes this request; only in views behind `guard` or `pages.base.page`."""
    actor: Actor = g.caller
    return actor


def actor_of(token: Token) -> Actor:
    """The actor who sent this token."""
    return Actor(token.owner, token.kind, token.id, token.worker)


def guard(blueprint: Blueprint, reads: Iterable[str], writes: Iterable[str]) -> None:
    """Admit only tokens of the kinds `reads` to a blueprint's GET paths, and of the kinds `writes` to the others."""
    reads, writes = frozenset(reads), frozenset(writes)

    def check() -> Response | None:
        g.caller = _bearer()
        if g.caller is None:
            return _unknown()
        allowed = reads if request.method in READING else writes
        if g.caller.role not in allowed:
            return problem(403, f"this needs a token of kind {' or '.join(sorted(allowed))}, not {g.caller.role}")
        return None

    blueprint.before_request(check)


def bearer_secret() -> str | None:
    """The secret of the request's Authorization header, or None."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _bearer() -> Actor | None:
    secret = bearer_secret()
    token = tokens.find(services().ledger, secret) if secret else None
    return actor_of(token) if token else None


def _unknown() -> Response:
    given = request.headers.get("Authorization") is not None
    why = "this token is unknown, expired or revoked" if given else "this needs a token: Authorization: Bearer mst_…"
    challenge = 'Bearer realm="muster"' + (', error="invalid_token"' if given else "")
    return problem(401, why, headers={"WWW-Authenticate": challenge})
