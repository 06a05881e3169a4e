"""What the chaos run says of placements is true: each check finds what it is for, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from app.ledger import groups, open_attempts
from app.ledger.db import Ledger
from app.ledger.registry import setups
from app.ledger.registry.setups import Setup
from app.pool.model import Requirement, Worker
from tests.chaos.people import record
from tests.chaos.placement import BACK_S, IDLE, assigned_what_does_not_fit
from tests.kit.actors import assign, join, submit, tell

RED = Requirement("burn", tags=("red",))


@pytest.fixture
def rows(ledger: Ledger, database_url: str) -> Callable[[str], list[dict[str, Any]]]:
    def ask(query: str) -> list[dict[str, Any]]:
        with psycopg.connect(database_url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    record(database_url)
    return ask


def set_up(ledger: Ledger, worker: Worker, *tags: str, depth: int | None = None) -> None:
    setups.change(ledger, [worker.id], lambda _: Setup(tags, (), (), None, depth), "ana")


def test_what_fits_is_no_violation(ledger: Ledger, rows: Any) -> None:
    worker = join(ledger)
    set_up(ledger, worker, "red", depth=1)
    first, second = submit(ledger, RED), submit(ledger, RED)
    for job in (first, second):
        assign(ledger, job, worker)
    tell(ledger, worker, first, 1, "claim", nonce="n")
    set_up(ledger, worker)  # a claim that was under way is nobody's fault
    tell(ledger, worker, second, 1, "claim", nonce="n")
    assert list(assigned_what_does_not_fit(rows)) == []


def test_a_worker_beyond_its_room_is_found(ledger: Ledger, rows: Any) -> None:
    worker = join(ledger)
    set_up(ledger, worker, depth=1)
    held = [submit(ledger) for _ in range(2)]
    for job in held:
        assign(ledger, job, worker)
    set_up(ledger, worker, depth=0)
    assert list(assigned_what_does_not_fit(rows)) == []  # it had the room when they came
    late = submit(ledger)
    assign(ledger, late, worker)
    [(what, found)] = assigned_what_does_not_fit(rows)
    assert "held 3 of 1" in what and found == late.id


def test_what_a_worker_does_not_match_is_found(ledger: Ledger, rows: Any) -> None:
    groups.create(ledger, "farm", None)
    for wish in (RED, Requirement("burn", group="farm")):
        worker, job = join(ledger, str(wish.group)), submit(ledger, wish)
        assign(ledger, job, worker)
        [*_, (what, found)] = assigned_what_does_not_fit(rows)
        assert "does not match" in what and found == job.id


def test_what_begins_long_after_a_re_tag_is_found(ledger: Ledger, rows: Any, database_url: str) -> None:
    worker, job = join(ledger), submit(ledger, RED)
    set_up(ledger, worker, "red")
    assign(ledger, job, worker)
    set_up(ledger, worker)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE chaos_setups SET at = at - make_interval(secs => %s)", [BACK_S + 1])
    tell(ledger, worker, job, 1, "claim", nonce="n")
    [(what, found)] = assigned_what_does_not_fit(rows)
    assert "long after a re-tag" in what and found == job.id


def test_who_waits_beside_a_worker_that_fits_is_seen(ledger: Ledger, rows: Any) -> None:
    worker, job = join(ledger), submit(ledger, RED)
    idle = partial(rows, IDLE)
    assert idle() == []
    set_up(ledger, worker, "red")
    assert [(row["job"], row["worker"]) for row in idle()] == [(job.id, worker.id)]
    assign(ledger, job, worker)
    assert idle() == []
    open_attempts.take_back(ledger, job.id, 1, "for a test")
    assert idle() == []  # it may be kept from where it was
