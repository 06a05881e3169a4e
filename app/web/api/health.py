"""Health over HTTP: this process lives (/healthz); the pool can take and run jobs (/readyz)."""

from __future__ import annotations

from collections.abc import Callable

import redis
from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel

from app.actions.services import Services
from app.ledger import leader, migrate
from app.pool.errors import Unavailable
from app.web.http.responses import answer
from app.web.http.services import services

blueprint = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])


class Alive(BaseModel):
    """The answer of a process that lives."""

    ok: bool = True


class CheckAnswer(BaseModel):
    """One thing that the pool needs."""

    name: str
    ok: bool
    detail: str


class Readiness(BaseModel):
    """Everything that the pool needs."""

    checks: list[CheckAnswer]


@blueprint.get("/healthz", responses={200: Alive})
def alive() -> Response:
    """Say that this process lives; touches no store."""
    return answer(Alive())


@blueprint.get("/readyz", responses={200: Readiness, 503: Readiness})
def ready() -> Response:
    """Say whether everything that the pool needs is there."""
    stores = services()
    checks = [_check("postgresql", _postgresql, stores), _redis_check(stores)]
    # Without PostgreSQL each of these would wait for it in vain, for longer than a prober waits.
    ledger_answers = checks[0].ok
    checks += [_check(name, look, stores) if ledger_answers else _unknown(name) for name, look in LOOKS_INTO_LEDGER]
    return answer(Readiness(checks=checks), 200 if all(check.ok for check in checks) else 503)


def _check(name: str, look: Callable[[Services], str | None], stores: Services) -> CheckAnswer:
    try:
        wrong = look(stores)
    except (Unavailable, redis.RedisError) as error:
        wrong = str(error).splitlines()[0]
    return CheckAnswer(name=name, ok=wrong is None, detail=wrong or "")


def _redis_check(stores: Services) -> CheckAnswer:
    """Redis answers or not; warnings (slow loss of hosts, few connections left) do not make the pool unready."""
    try:
        warnings = [stores.live.keepalive_problem(), stores.live.crowded()]
    except redis.RedisError as error:
        return CheckAnswer(name="redis", ok=False, detail=str(error).splitlines()[0])
    return CheckAnswer(name="redis", ok=True, detail="; ".join(filter(None, warnings)))


def _unknown(name: str) -> CheckAnswer:
    return CheckAnswer(name=name, ok=False, detail="nobody knows while PostgreSQL does not answer")


def _postgresql(stores: Services) -> str | None:
    stores.ledger.one("migrations_table")
    return None


def _migrations(stores: Services) -> str | None:
    pending = migrate.pending(stores.ledger)
    return f"not applied: {', '.join(pending)}; run `python -m app migrate`" if pending else None


def _coordinator(stores: Services) -> str | None:
    return None if leader.held(stores.ledger) else "no coordinator leads; start one with `python -m app coordinator`"


LOOKS_INTO_LEDGER: tuple[tuple[str, Callable[[Services], str | None]], ...] = (
    ("migrations", _migrations),
    ("coordinator", _coordinator),
)
