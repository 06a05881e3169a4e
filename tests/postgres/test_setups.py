"""What people set of workers, and how long they pause them: kept through re-joins, told in events, undone by nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg

from app.ledger import events
from app.ledger.db import Ledger
from app.ledger.registry import pauses, setups, workers
from app.ledger.registry.pauses import Pause
from app.ledger.registry.setups import Setup
from app.pool.model import Health, Intent, Worker, WorkerId
from tests.kit.actors import join

SETUP = Setup(("optix",), (), ("burn",), 3, 2)


def now(ledger: Ledger, worker: Worker) -> Worker:
    found = workers.find(ledger, worker.id)
    assert found is not None
    return found


def told(ledger: Ledger, worker: Worker) -> list[str]:
    return [event.sentence for event in events.listed(ledger, worker=worker.id)]


def test_a_setup_survives_a_re_join(ledger: Ledger) -> None:
    worker = join(ledger)
    setups.change(ledger, [worker.id], lambda _: SETUP, "ana")
    again = join(ledger)
    assert (again.id, again.incarnation) == (worker.id, worker.incarnation + 1)
    assert setups.setup_of(again) == SETUP
    assert (again.slots, again.slots_offered, again.slots_wanted) == (3, 1, 3)


def test_a_change_says_who_did_what_and_raises_the_revision(ledger: Ledger) -> None:
    worker = join(ledger)
    changes = setups.change(ledger, [worker.id, WorkerId("0" * 12)], lambda _: SETUP, "ana")
    assert changes.keys() == {worker.id} and changes[worker.id].changed
    assert told(ledger, worker)[0] == ("ana changed render-1: tags + optix; workflows: burn; slots: 3; queue depth: 2")
    before = setups.version(now(ledger, worker))
    assert not setups.change(ledger, [worker.id], lambda _: SETUP, "ana")[worker.id].changed
    assert setups.version(now(ledger, worker)) == before
    setups.change(ledger, [worker.id], lambda _: Setup((), (), (), None, None), "ben")
    assert setups.version(now(ledger, worker)) != before
    assert told(ledger, worker)[0] == (
        "ben changed render-1: tags − optix; workflows: all that it offers; slots: as its agent says;"
        " queue depth: the pool's"
    )


def test_a_wish_that_is_refused_changes_the_others_all_the_same(ledger: Ledger) -> None:
    one, two = join(ledger, "one"), join(ledger, "two")
    changes = setups.change(
        ledger, [one.id, two.id], lambda w: "no" if w.id == one.id else replace(setups.setup_of(w), slots=2), "ana"
    )
    assert (changes[one.id].refused, changes[two.id].refused) == ("no", None)
    assert (now(ledger, one).slots, now(ledger, two).slots) == (1, 2)


def test_a_pause_tells_who_why_and_until_when(ledger: Ledger) -> None:
    worker = join(ledger)
    [moved] = pauses.pause(ledger, [worker.id], Pause(for_s=3600, note="driver update"), "ana")
    paused = now(ledger, worker)
    assert (paused.intent, paused.paused_by, paused.paused_note) == (Intent.PAUSED, "ana", "driver update")
    assert paused.paused_until == moved.until and moved.until is not None
    assert timedelta(minutes=59) < moved.until - datetime.now(timezone.utc) <= timedelta(minutes=60)
    assert told(ledger, worker)[0] == f"ana paused render-1 until {moved.until:%Y-%m-%d %H:%M} UTC: driver update"
    pauses.pause(ledger, [worker.id], Pause(), "ben")
    paused = now(ledger, worker)
    assert (paused.paused_until, paused.paused_by, paused.paused_note) == (None, "ben", None)
    assert [each.id for each in pauses.resume(ledger, [worker.id], "ben")] == [worker.id]
    assert now(ledger, worker).paused_by is None
    assert not pauses.resume(ledger, [worker.id], "ben")


def test_only_a_paused_worker_is_resumed(ledger: Ledger) -> None:
    worker = join(ledger)
    assert not pauses.resume(ledger, [worker.id], "ana")
    assert now(ledger, worker).intent is Intent.ACTIVE


def test_a_pause_ends_by_itself_once(ledger: Ledger, database_url: str) -> None:
    short, long, ever = join(ledger, "short"), join(ledger, "long"), join(ledger, "ever")
    for worker, seconds in ((short, 60), (long, 3600), (ever, None)):
        pauses.pause(ledger, [worker.id], Pause(for_s=seconds), "ana")
    assert pauses.over(ledger) == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE workers SET paused_until = paused_until - interval '10 minutes'")
    assert [pauses.over(ledger), pauses.over(ledger)] == [1, 0]
    assert [now(ledger, worker).intent for worker in (short, long, ever)] == ["active", "paused", "paused"]
    assert told(ledger, short)[0] == "short takes jobs again: its pause is over"


def test_what_is_noted_each_minute_is_no_change_and_all_else_is(ledger: Ledger) -> None:
    worker = join(ledger)

    def version() -> str:
        return workers.versions(ledger)[worker.id]

    def note() -> None:
        workers.note(ledger, [workers.Note(worker.id, "healthy", ("model:sdxl",), True)])

    first = version()
    note()
    note()
    assert version() == first
    workers.set_health(ledger, worker, Health.DEGRADED, "silent", "degraded")
    second = version()
    assert second != first
    note()
    assert version() == second
    known = workers.renewed(ledger, {})
    setups.change(ledger, [worker.id], lambda now: replace(setups.setup_of(now), tags=("fast",)), "ana")
    assert version() not in (first, second)
    assert workers.renewed(ledger, known)[worker.id][1].tags == ("fast",)
