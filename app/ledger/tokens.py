"""Tokens: who may do what. A secret is `mst_<kind>_<32 random bytes>`, shown once, stored as SHA-256."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from app.ledger.db import Ledger, Row
from app.pool.model import WorkerId, new_id


@dataclass(frozen=True)
class Token:
    """A token without its secret."""

    id: str
    kind: str
    owner: str
    worker: WorkerId | None
    uses_left: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def create(
    ledger: Ledger,
    kind: str,
    owner: str,
    *,
    worker: WorkerId | None = None,
    uses: int | None = None,
    expires_at: datetime | None = None,
    secret: str | None = None,
) -> tuple[Token, str]:
    """A new token and its secret."""
    secret = secret or new_secret(kind)
    row = ledger.one(
        "token_create",
        id=new_id(),
        kind=kind,
        owner=owner,
        sha256=digest(secret),
        worker=worker,
        uses=uses,
        expires_at=expires_at,
    )
    assert row is not None
    return token_of(row), secret


def new_secret(kind: str) -> str:
    """A new random secret of this kind."""
    return f"mst_{kind}_{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"


def digest(secret: str) -> str:
    """The SHA-256 of a secret, which is stored in its place."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find(ledger: Ledger, secret: str) -> Token | None:
    """The token of this secret, its use noted; None when it is unknown, spent, expired or revoked."""
    row = ledger.one("token_find", sha256=digest(secret))
    if row is None:
        return None
    if row["note_use"]:
        ledger.do("token_used", id=row["id"])
    return token_of(row)


def spend(ledger: Ledger, token: str) -> bool:
    """Take one use of a token, by its id; False when there was none left."""
    return ledger.do("token_spend", id=token) == 1


def listed(ledger: Ledger) -> list[Token]:
    """All tokens but agents' own, newest first, revoked ones too."""
    return [token_of(row) for row in ledger.all("tokens_listed")]


def revoke(ledger: Ledger, token: str) -> bool:
    """Revoke a token by its id; False when there is no such token, or it was revoked before."""
    return ledger.do("token_revoke", id=token) == 1


def token_of(row: Row) -> Token:
    """A token from its row."""
    return Token(
        row["id"],
        row["kind"],
        row["owner"],
        row["worker_id"],
        row["uses_left"],
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
    )
