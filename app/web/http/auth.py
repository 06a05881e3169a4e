"""Who asks: bearer tokens and their kinds. A session cookie is one more method of `METHODS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask import Blueprint, Response, abort, g, request

from app.ledger import tokens
from app.pool.model import Job, WorkerId
from app.web.http.problems import problem
from app.web.http.services import services

PEOPLE = ("admin", "creator", "read")
READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """Whoever makes this request."""

    kind: str  # of the token: admin, creator, read, metrics, agent, join, embed
    owner: str
    token: str  # its id
    worker: WorkerId | None = None

    @property
    def sees_all(self) -> bool:
        """Whether others' jobs are theirs to see; a creator sees only their own."""
        return self.kind in ("admin", "read")


def caller() -> Caller:
    """Who makes this request; only in views behind `guard`."""
    found: Caller = g.caller
    return found


def guard(blueprint: Blueprint, reads: Iterable[str], writes: Iterable[str]) -> None:
    """Admit only these kinds of token to a blueprint's paths, for reading and for the rest."""
    reads, writes = frozenset(reads), frozenset(writes)

    def check() -> Response | None:
        g.caller = next((found for method in METHODS if (found := method())), None)
        if g.caller is None:
            return _unknown()
        allowed = reads if request.method in READING else writes
        if g.caller.kind not in allowed:
            return problem(403, f"this needs a token of kind {' or '.join(sorted(allowed))}, not {g.caller.kind}")
        return None

    blueprint.before_request(check)


def visible(job: Job | None) -> Job:
    """The job, when this caller may see it. A creator is not told that another's job exists: 404."""
    if job is None or not (caller().sees_all or job.spec.owner == caller().owner):
        abort(404, "there is no such job")
    return job


def bearer_secret() -> str | None:
    """The secret that the request carries, or None."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _bearer() -> Caller | None:
    secret = bearer_secret()
    token = tokens.find(services().ledger, secret) if secret else None
    return Caller(token.kind, token.owner, token.id, token.worker) if token else None


METHODS: tuple[Callable[[], Caller | None], ...] = (_bearer,)


def _unknown() -> Response:
    given = request.headers.get("Authorization") is not None
    why = "this token is unknown, expired or revoked" if given else "this needs a token: Authorization: Bearer mst_…"
    challenge = 'Bearer realm="muster"' + (', error="invalid_token"' if given else "")
    return problem(401, why, headers={"WWW-Authenticate": challenge})
