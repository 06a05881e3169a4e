"""Sessions: a person signed in on the pages by a token. A session that ends here has ended, whatever cookies say."""

from __future__ import annotations

import secrets

from app.ledger.db import Ledger
from app.ledger.tokens import Token, digest, token_of

LIFE_S = 14 * 24 * 60 * 60


def begin(ledger: Ledger, token: str) -> str:
    """A new session of the token with this id; returns its secret, which is stored nowhere."""
    secret = secrets.token_urlsafe(32)
    ledger.do("session_begin", sha256=digest(secret), token=token, seconds=LIFE_S)
    return secret


def find(ledger: Ledger, secret: str) -> Token | None:
    """The token of the session, unless the session is over or the token is revoked or expired."""
    row = ledger.one("session_find", sha256=digest(secret))
    return token_of(row) if row else None


def end(ledger: Ledger, secret: str) -> None:
    """End the session of this secret; ending it twice is harmless."""
    ledger.do("session_end", sha256=digest(secret))
