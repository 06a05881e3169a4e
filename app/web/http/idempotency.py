"""Idempotency keys: a submission that is repeated with its key is answered, not done, again."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import Response, abort
from pydantic import BaseModel

from app.ledger import idempotency
from app.ledger.db import Ledger
from app.ledger.idempotency import Stored
from app.pool.errors import BadRequest
from app.web.http.auth import caller
from app.web.http.responses import answer
from app.web.http.services import services


def once(key: str | None, asked: BaseModel, work: Callable[[Ledger], BaseModel], kept: Callable[[], None]) -> Response:
    """201 with what `work` gives, committed together with the key; the stored answer for a known one.

    `asked` is what a key stands for, whether it came as JSON or by a form. `kept` is called as soon as it
    is committed.
    """
    ledger = services().ledger
    if key is None:
        with ledger.transaction() as tx:
            made = work(tx)
        kept()
        return answer(made, 201)
    owner, body = caller().owner, asked.model_dump_json().encode()
    stored = idempotency.begin(ledger, owner, key, body)
    if stored:
        return _again(stored)
    try:
        with ledger.transaction() as tx:
            response = answer(work(tx), 201)
            idempotency.finish(tx, owner, key, body, 201, response.get_json())
    except Exception:
        idempotency.drop(ledger, owner, key)  # nothing was done: the key may be used again at once
        raise
    kept()
    return response


def _again(stored: Stored) -> Response:
    if not stored.same_body:
        raise BadRequest("this Idempotency-Key was used with another body", [("?Idempotency-Key", "use a new one")])
    if stored.status is None:
        abort(409, "the first request with this Idempotency-Key still runs; ask again in a moment")
    headers = {"Idempotency-Replayed": "true"}
    return Response(json.dumps(stored.answer), stored.status, headers, mimetype="application/json")
