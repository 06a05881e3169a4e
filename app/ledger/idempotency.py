"""Idempotency keys: the same key and body give the stored answer, for a day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from app.ledger.db import Ledger
from app.pool.model import Json


@dataclass(frozen=True)
class Stored:
    """A key's record: its stored answer, or None while its first request runs; `same_body` compares the bodies."""

    same_body: bool
    status: int | None
    answer: Json


def begin(ledger: Ledger, owner: str, key: str, body: bytes) -> Stored | None:
    """None when the key was free: it is now the caller's, to `finish` or to `drop`. Else the first request's record.

    Call it outside of a transaction: it is committed before the work, so that of two requests at once the second
    sees the first run.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    if ledger.do("idempotency_begin", owner=owner, key=key, body_sha256=sha256):
        return None
    row = ledger.one("idempotency_find", owner=owner, key=key)
    if row is None:  # dropped between the two statements: as if it still ran
        return Stored(True, None, None)
    return Stored(row["body_sha256"] == sha256, row["status"], row["answer"])


def finish(ledger: Ledger, owner: str, key: str, body: bytes, status: int, answer: Json) -> None:
    """Store the answer, in the transaction that does the work."""
    sha256 = hashlib.sha256(body).hexdigest()
    ledger.do("idempotency_finish", owner=owner, key=key, body_sha256=sha256, status=status, answer=Jsonb(answer))


def drop(ledger: Ledger, owner: str, key: str) -> None:
    """Free a key whose request failed before it had an answer."""
    ledger.do("idempotency_drop", owner=owner, key=key)
