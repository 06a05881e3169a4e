"""Rows of an older release, after the migrations that came since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import psycopg
import pytest

from app.ledger import logs
from app.ledger.db import Ledger
from app.ledger.logs import LogLine
from app.ledger.migrate import files, migrate
from app.ledger.registry import workflows
from app.pool.model import JobId, Workflow

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def before_classes(database_url: str) -> Iterator[Connection]:
    """A database as the release before 0011 left it: two workers, and jobs that have failed on the first."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for path in files():
            if path.name < "0011":
                connection.execute(path.read_bytes())
        for name in ("w1", "w2"):
            insert(connection, "workers", id=name, name=name, hostname=name, intent="active", health="healthy")
        for number, state in enumerate(("pending", "pending", "running", "succeeded")):
            runs = {"worker_id": "w2", "incarnation": 1} if state == "running" else {}
            ended = {"ended_at": "2026-01-01"} if state == "succeeded" else {}
            job = {"id": f"j{number}", "workflow": "burn", "owner": "ana", "class": "as it was", "state": state}
            memory = {"min_vram_mb": 5_000 + number // 2}
            insert(connection, "jobs", attempt=2, waiting="as it was", params="{}", **job, **memory, **runs, **ended)
            insert(connection, "attempts", job_id=f"j{number}", number=1, worker_id="w1", end_word="failed")
        insert(connection, "classes", name="as it was", why="as it was")
        connection.execute("CREATE TABLE schema_migrations (name text, sha256 text, at timestamptz)")
        for path in files():
            if path.name < "0011":
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                connection.execute("INSERT INTO schema_migrations VALUES (%s, %s)", [path.name, sha256])
        yield connection


def insert(connection: Connection, table: str, **values: object) -> None:
    """Insert a row; what has no default and is not named becomes something that fits its type."""
    needed = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = %s AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
        [table],
    ).fetchall()
    fitting = {"bigint": 1, "integer": 1, "jsonb": "[]", "ARRAY": []}
    facts = {str(name): fitting.get(str(kind), f"{name} of {values.get('id')}") for name, kind in needed} | values
    names, marks = ", ".join(facts), ", ".join(["%s"] * len(facts))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(facts.values()))


def test_open_jobs_of_an_older_release_get_their_classes_and_where_they_failed(
    before_classes: Connection, database_url: str
) -> None:
    assert migrate(database_url)[0].startswith("0011")
    rows = before_classes.execute("SELECT class, failed_on, waiting, state FROM jobs ORDER BY id").fetchall()
    classes = [row[0] for row in rows]
    assert classes[0] == classes[1] != classes[2]
    assert classes[3] == "as it was"  # ended: nothing asks for its class
    assert [row[1] for row in rows] == [["w1"], ["w1"], ["w1"], []]
    assert [row[2] for row in rows if row[3] == "pending"] == [None, None]
    assert before_classes.execute("SELECT count(*) FROM classes").fetchone() == (0,)


def test_logs_of_an_older_release_are_read_as_before(before_classes: Connection, database_url: str) -> None:
    before_classes.execute(
        "INSERT INTO log_lines (job_id, attempt, number, line, at)"
        " SELECT 'j0', 1, n, 'line ' || n, '2026-01-01 12:00+00' FROM generate_series(1, 450) n"
    )
    migrate(database_url)
    ledger = Ledger.connect(database_url, 1)
    part = logs.read(ledger, JobId("j0"), 1, limit=1_000)
    ledger.close()
    lines = [entry for entry in part.entries if isinstance(entry, LogLine)]
    assert [(line.number, line.text) for line in lines] == [(n, f"line {n}") for n in range(1, 451)]
    assert lines[0].at.isoformat() == "2026-01-01T12:00:00+00:00"
    assert before_classes.execute("SELECT max(first_byte + bytes) - sum(bytes) FROM log_portions").fetchone() == (0,)


def test_workflows_that_were_offered_before_they_were_kept_are_known(
    before_classes: Connection, database_url: str
) -> None:
    before_classes.execute("""UPDATE workers SET workflows = '[{"name": "upscale", "runner": "python"}]'""")
    before_classes.execute("UPDATE attempts SET job_workflow = 'burn' WHERE job_id = 'j3'")
    migrate(database_url)
    ledger = Ledger.connect(database_url, 1)
    known = workflows.known(ledger)
    ledger.close()
    assert known == {"burn": None, "upscale": Workflow("upscale", "python")}
