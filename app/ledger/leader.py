"""Who leads: whoever holds one advisory lock, on a session of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.ledger.db import CONNECT_S, Ledger
from app.pool.errors import Unavailable

LEADER_LOCK = 0x6D757374  # "must"; below 2**32, so that pg_locks shows it whole in objid
IDLE_S = 4.0  # PostgreSQL ends a session that has stopped pinging, and its leading with it
TIMEOUT_S = 2.0


class LeaderSession:
    """One direct session; it leads once `try_lock` was true, until it ends."""

    def __init__(self, connection: psycopg.Connection[tuple[bool]]) -> None:
        self._connection = connection

    def try_lock(self) -> bool:
        """True when this session leads now. Raises psycopg.OperationalError when the session has ended."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()
        return row is not None and bool(row[0])

    def ping(self) -> None:
        """Keep the session alive; may be repeated. Raises psycopg.OperationalError once the session has ended."""
        self._connection.execute("SELECT true")


@contextmanager
def session(database_url: str) -> Iterator[LeaderSession]:
    """A session with PostgreSQL itself, not from a pool. Raises Unavailable when it ends or cannot begin."""
    try:
        with psycopg.connect(
            database_url,
            autocommit=True,  # in an open transaction idle_session_timeout never fires
            connect_timeout=CONNECT_S,
            tcp_user_timeout=round(TIMEOUT_S * 1000),
            options=f"-c idle_session_timeout={IDLE_S * 1000:.0f} -c statement_timeout={TIMEOUT_S * 1000:.0f}",
        ) as connection:
            yield LeaderSession(connection)
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL does not answer: {str(error).strip()}") from error


def held(ledger: Ledger) -> bool:
    """True when a coordinator leads."""
    return ledger.one("leader_held", lock=LEADER_LOCK) is not None
