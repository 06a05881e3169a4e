"""Connections, transactions and the named queries of sql/queries.

Every call has a time limit. What PostgreSQL cannot answer now is raised as Unavailable: a
transaction that failed has changed nothing, so trying again is safe. A statement by itself that was
undone for the sake of another's is tried again here; a transaction is its caller's to try, by Collided.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from app.pool.errors import Collided, Unavailable

SQL = Path(__file__).parents[2] / "sql"
CONNECT_S = 3
STATEMENT_MS = 5_000
FRESH_S = 1.0  # a silent connection that answered within this time is not asked again whether it lives
TRIES = 3  # of a statement; PostgreSQL waits a second before it takes a wait for a deadlock
COLLISIONS = (DeadlockDetected, SerializationFailure)
Row = dict[str, Any]
T = TypeVar("T")


class Connection(psycopg.Connection[Row]):
    """Commits each statement by itself outside of `transaction()`."""

    used_at = 0.0  # when it answered last, by the monotonic clock


class Ledger:
    """Runs named queries, each by itself or, inside `transaction()`, together."""

    def __init__(self, pool: ConnectionPool[Connection], connection: Connection | None = None) -> None:
        self._pool = pool
        self._connection = connection

    @classmethod
    def connect(cls, database_url: str, size: int = 4) -> Ledger:
        """A ledger over at most `size` connections, opened when first used."""
        return cls(
            ConnectionPool(
                database_url,
                connection_class=Connection,
                min_size=0,
                max_size=size,
                timeout=CONNECT_S,
                # The pool's pauses between tries double. Given up this soon, the next call begins without a pause.
                reconnect_timeout=CONNECT_S,
                max_idle=60,
                open=True,
                check=_check,
                kwargs={
                    "autocommit": True,  # else a single statement costs two round trips more
                    "row_factory": dict_row,
                    "connect_timeout": CONNECT_S,
                    "options": f"-c statement_timeout={STATEMENT_MS} -c idle_in_transaction_session_timeout=10000"
                    " -c timezone=UTC",
                },
            )
        )

    def close(self) -> None:
        """Give all connections back to PostgreSQL."""
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Ledger]:
        """A ledger whose verbs are committed together, or not at all; a transaction inside another is a savepoint.

        Raises Unavailable when PostgreSQL does not answer (a commit may have happened all the same) and Collided when
        others changed the same rows; after Collided the transaction may be repeated.
        """
        if self._connection is not None:
            with self._connection.transaction():
                yield self
            return
        with self._lent() as connection, connection.transaction():
            yield Ledger(self._pool, connection)

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        """Every row of a named query. Raises Unavailable."""
        return self._run(query, parameters, lambda cursor: cursor.fetchall())

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        """The first row of a named query, or None. Raises Unavailable."""
        return self._run(query, parameters, lambda cursor: cursor.fetchone())

    def do(self, query: str, /, **parameters: Any) -> int:
        """Run a named statement; returns how many rows it touched. Raises Unavailable: it may have run all the same."""
        return self._run(query, parameters, lambda cursor: cursor.rowcount)

    def do_many(self, query: str, many: Sequence[Mapping[str, Any]]) -> None:
        """Run a named statement for each of these parameters, pipelined; all or none commit. Raises Unavailable."""
        if many:
            self._repeated(lambda: self._many(query, many))

    def _many(self, query: str, many: Sequence[Mapping[str, Any]]) -> None:
        with self.transaction() as tx, tx._cursor() as cursor:
            cursor.executemany(_statement(query), many)

    def _run(self, query: str, parameters: Mapping[str, Any], read: Callable[[psycopg.Cursor[Row]], T]) -> T:
        def once() -> T:
            with self._cursor() as cursor:
                cursor.execute(_statement(query), parameters)
                return read(cursor)

        return self._repeated(once)

    def _repeated(self, work: Callable[[], T]) -> T:
        """What `work` returns; tried again after a collision, but not in a transaction, which is undone whole."""
        if self._connection is None:
            for _ in range(TRIES - 1):
                with suppress(Collided):
                    return work()
        return work()

    @contextmanager
    def _cursor(self) -> Iterator[psycopg.Cursor[Row]]:
        if self._connection is not None:
            with self._connection.cursor() as cursor:
                yield cursor
            return
        with self._lent() as connection, connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        with _unavailable(), self._pool.connection() as connection:
            yield connection
            connection.used_at = time.monotonic()


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except COLLISIONS as error:
        raise Collided(f"others changed the same at the same moment: {str(error).strip()}") from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable(f"PostgreSQL does not answer: {str(error).strip()}") from error


def _check(connection: Connection) -> None:
    """Raise psycopg.OperationalError for a dead connection; the pool then makes another."""
    said = select.select([connection], [], [], 0)[0]  # a server that ends a connection says so unasked
    if said or time.monotonic() - connection.used_at > FRESH_S:
        ConnectionPool.check_connection(connection)


def _statement(name: str) -> LiteralString:
    return queries()[name]  # from our own files, never from a request


@cache
def queries() -> dict[str, str]:
    """Every named query of sql/queries. Raises ValueError when a name stands twice."""
    found: dict[str, str] = {}
    for path in sorted((SQL / "queries").glob("*.sql")):
        for name, text in re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", path.read_text(), re.M | re.S):
            if name in found:
                raise ValueError(f"query {name} stands twice, again in {path.name}")
            found[name] = text.strip()
    return found
