"""The test database itself."""

from __future__ import annotations

import psycopg


def test_each_test_has_a_migrated_database(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM workers").fetchone() == (0,)
