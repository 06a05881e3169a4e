"""Migrations: numbered files of sql/migrations, each in a transaction of its own, all under one lock.

A file that has run is never edited: its SHA-256 is kept and compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from app.ledger.db import CONNECT_S, SQL, Ledger
from app.pool.errors import PoolError, Unavailable

PAIRED = 2  # two files bear this number and have run on databases; no other number may stand twice
LOCK = 0x6D757374_6D696772  # "must" "migr"; migrations alone take it


def migrate(database_url: str) -> list[str]:
    """Apply every file that has not run yet and return the names of those.

    Raises PoolError when a file that has run was edited or is gone, Unavailable without PostgreSQL.
    """
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            # Two servers that start together: the second waits here and then finds nothing to do.
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            return list(_apply(connection))
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {str(error).strip()}") from error


def pending(ledger: Ledger) -> list[str]:
    """The names of files that have not run on this database."""
    if ledger.one("migrations_table") is None:
        return [path.name for path in files()]
    ran = {row["name"] for row in ledger.all("migrations_ran")}
    return [path.name for path in files() if path.name not in ran]


def files() -> list[Path]:
    """Every migration in the order in which they run. Raises PoolError when two have one number."""
    found = sorted((SQL / "migrations").glob("*.sql"))
    for one, other in pairwise(found):
        if _number(one) == _number(other) > PAIRED:
            raise PoolError(f"migrations {one.name} and {other.name} have one number; give the newer one the next")
    return found


def _apply(connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )
    ran = dict(connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall())
    _refuse_edited(ran)
    for path in files():
        if path.name not in ran:
            with connection.transaction():
                connection.execute(path.read_text())
                connection.execute("INSERT INTO schema_migrations VALUES (%s, %s)", [path.name, _sha256(path)])
            yield path.name


def _refuse_edited(ran: dict[str, str]) -> None:
    present = {path.name: path for path in files()}
    for name, sha256 in ran.items():
        if name not in present:
            raise PoolError(
                f"migration {name} has run on this database but is not in this release; install a newer one"
            )
        if _sha256(present[name]) != sha256:
            raise PoolError(f"migration {name} was edited after it ran; restore the file and add a new one instead")


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
