"""The files of sql/migrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ledger import migrate
from app.pool.errors import PoolError

ONLY_PAIR = {"0002_samples.sql", "0002_sessions.sql"}  # they have run on databases, so their names stay


def test_no_two_of_our_migrations_have_one_number_but_the_first_pair() -> None:
    names = [path.name for path in migrate.files()]
    numbers = [name.partition("_")[0] for name in names if name not in ONLY_PAIR]
    assert len(numbers) == len(set(numbers)) and "0002" not in numbers
    assert names == sorted(names) and set(names) >= ONLY_PAIR


def test_a_second_migration_of_one_number_is_refused_before_any_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name in (*ONLY_PAIR, "0003_failover.sql", "0003_doubled.sql"):
        (folder / name).touch()
    monkeypatch.setattr(migrate, "SQL", tmp_path)
    with pytest.raises(PoolError, match=r"0003_doubled\.sql and 0003_failover\.sql have one number"):
        migrate.files()
