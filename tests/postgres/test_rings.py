"""Two that change many workers at once: nobody waits in a ring, and a ring that comes about is told as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone

import psycopg
import pytest

from app.ledger import groups
from app.ledger.db import Ledger
from app.ledger.registry import pauses, setups, workers
from app.ledger.registry.pauses import Pause
from app.ledger.registry.setups import Setup
from app.ledger.registry.workers import Note
from app.pool.errors import Collided
from app.pool.model import WorkerId
from tests.kit.actors import join, waits_for_a_lock
from tests.kit.services import eventually

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
HOLD = "SELECT FROM workers WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

Act = Callable[[Ledger, list[WorkerId]], object]
ACTS: dict[str, Act] = {
    "pause": lambda ledger, ids: pauses.pause(ledger, ids, Pause(), "ana"),
    "end pauses": lambda ledger, ids: pauses.over(ledger),
    "note": lambda ledger, ids: workers.note(ledger, [Note(id_, "healthy", (), True) for id_ in reversed(ids)]),
    "rename a group": lambda ledger, ids: groups.rename(ledger, "farm", "barn"),
    "delete a group": lambda ledger, ids: groups.delete(ledger, "farm", None),
}


@pytest.fixture
def ids(ledger: Ledger) -> list[WorkerId]:
    """Paused workers of the group farm, so many that they do not lie in the order of their ids."""
    found: list[WorkerId] = []
    while len(found) < 2 or found[-1] > min(found[:-1]):
        found.append(join(ledger, f"render-{len(found)}").id)
    groups.create(ledger, "farm", None)
    setups.change(ledger, found, lambda _: Setup((), ("farm",), (), None, None), "ana")
    pauses.pause(ledger, found, Pause(until=PAST), "ana")
    return sorted(found)


@contextmanager
def beside(
    database_url: str, held: WorkerId, work: Callable[[], object]
) -> Iterator[tuple[psycopg.Connection, Future[object]]]:
    """Somebody who holds this worker, and `work` that waits for it by now."""
    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SET deadlock_timeout = '1min'")  # of two that wait for each other the other one is ended
        holder.execute(HOLD, [[held]])
        working = pool.submit(work)
        eventually(lambda: waits_for_a_lock(database_url))
        yield holder, working
        holder.commit()


@pytest.mark.parametrize("act", ACTS)
def test_whoever_waits_for_the_first_of_many_workers_holds_none_of_the_others(
    ledger: Ledger, database_url: str, ids: list[WorkerId], act: str
) -> None:
    with beside(database_url, ids[0], lambda: ACTS[act](ledger, ids)) as (holder, working):
        holder.execute(f"{HOLD} NOWAIT", [ids])
    working.result(10)


def test_a_statement_that_was_ended_to_break_a_ring_is_done_again(
    ledger: Ledger, database_url: str, ids: list[WorkerId]
) -> None:
    note = Note(ids[0], "noted", (), False)
    notes = [note, Note(ids[1], "noted", (), False)]
    with beside(database_url, ids[1], lambda: workers.note(ledger, notes)) as (holder, working):
        holder.execute(HOLD, [[ids[0]]])
    working.result(10)
    assert ledger.one("worker_find", id=ids[0])["status"] == "noted"  # type: ignore[index]


def test_a_transaction_that_was_ended_to_break_a_ring_is_told_from_an_absent_store(
    ledger: Ledger, database_url: str, ids: list[WorkerId]
) -> None:
    def both() -> None:
        with ledger.transaction() as tx:
            workers.note(tx, [Note(ids[0], "first", (), False)])
            workers.note(tx, [Note(ids[1], "second", (), False)])

    with beside(database_url, ids[1], both) as (holder, working):
        holder.execute(HOLD, [[ids[0]]])
    with pytest.raises(Collided, match="others changed the same"):
        working.result(10)
    assert ledger.one("worker_find", id=ids[0])["status"] != "first"  # type: ignore[index]
