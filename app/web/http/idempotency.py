"""Idempotency keys: a submission that is repeated with its key is answered, not done, again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from flask import Response
from pydantic import BaseModel

from app.actions.errors import Conflict
from app.ledger import idempotency
from app.ledger.db import Ledger
from app.ledger.idempotency import Stored
from app.pool.errors import BadRequest
from app.pool.model import Json
from app.web.http.auth import caller
from app.web.http.services import services


@dataclass(frozen=True)
class Answered:
    """The answer to a submission as JSON text; `replayed` when an earlier request had made it."""

    status: int
    text: str
    replayed: bool = False

    @property
    def body(self) -> Json:
        """The parsed answer."""
        return json.loads(self.text)

    def response(self) -> Response:
        """The answer as the API gives it."""
        headers = {"Idempotency-Replayed": "true"} if self.replayed else {}
        return Response(self.text, self.status, headers, mimetype="application/json")


def once(
    key: str | None, asked: BaseModel, work: Callable[[Ledger], BaseModel], committed: Callable[[], None]
) -> Answered:
    """201 with what `work` gives, committed together with the key; the stored answer for a known key.

    `asked` is what a key stands for, whether it came as JSON or by a form. `committed` is called after the commit.
    Raises BadRequest when the key was used with another body, Conflict while the first request runs, and what `work`
    raises; then nothing was done and the key is free.
    """
    ledger = services().ledger
    if key is None:
        with ledger.transaction() as tx:
            made = work(tx)
        committed()
        return _answered(made)
    owner, body = caller().name, asked.model_dump_json().encode()
    stored = idempotency.begin(ledger, owner, key, body)
    if stored:
        return _again(stored)
    try:
        with ledger.transaction() as tx:
            answered = _answered(work(tx))
            idempotency.finish(tx, owner, key, body, answered.status, answered.body)
    except Exception:
        idempotency.drop(ledger, owner, key)  # nothing was done: the key may be used again at once
        raise
    committed()
    return answered


def _answered(made: BaseModel) -> Answered:
    return Answered(201, made.model_dump_json(by_alias=True))


def _again(stored: Stored) -> Answered:
    if not stored.same_body:
        raise BadRequest("this Idempotency-Key was used with another body", [("?Idempotency-Key", "use a new one")])
    if stored.status is None:
        raise Conflict("the first request with this Idempotency-Key still runs; ask again in a moment")
    return Answered(stored.status, json.dumps(stored.answer), replayed=True)
