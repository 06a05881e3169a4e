"""Errors of three owners in a row on one worker: it is looked into, and paused where enough others are left."""

from __future__ import annotations

from typing import Any

import pytest

from app.ledger import events, investigations, reports, tokens
from app.ledger.db import Ledger
from app.ledger.investigations import SuspectedCause
from app.ledger.registry import pauses, workers
from app.ledger.reports import Applied
from app.pool.model import Health, Intent, Requirement, Worker
from app.pool.protocol import Report
from tests.kit.actors import join, overlapping, running, submit, tell

TOO_MANY = "it is not paused, since the pool pauses one worker in five at most"
THE_LAST = "it is not paused, since no other healthy worker takes jobs"


@pytest.fixture
def pool(ledger: Ledger) -> list[Worker]:
    """Five workers, of which one may be paused so."""
    tokens.create(ledger, "admin", "root")
    return [join(ledger, f"render-{number}") for number in range(5)]


def fail(ledger: Ledger, worker: Worker, owner: str, **rest: Any) -> Applied:
    job = running(ledger, worker, submit(ledger, Requirement("burn"), owner=owner, max_failures=1))
    return tell(ledger, worker, job, 1, "end", **{"end": "failed", "cause": "workflow", "error": "no", **rest})


def succeed(ledger: Ledger, worker: Worker) -> None:
    tell(ledger, worker, running(ledger, worker), 1, "end", end="succeeded")


def now(ledger: Ledger, worker: Worker) -> Worker:
    found = workers.find(ledger, worker.id)
    assert found is not None
    return found


def looked_into(ledger: Ledger, worker: Worker) -> bool:
    return worker.id in investigations.open_of(ledger, [worker.id])


def test_the_third_owner_in_a_row_opens_an_investigation_and_pauses_the_worker(
    ledger: Ledger, pool: list[Worker]
) -> None:
    outcomes = [fail(ledger, pool[0], owner) for owner in ("ana", "ana", "ben", "cem")]

    assert outcomes == [Applied.ENDED, Applied.ENDED, Applied.ENDED, Applied.WORKER_BARRED]
    bad = now(ledger, pool[0])
    assert (bad.intent, bad.paused_by, bad.paused_until) == (Intent.PAUSED, "pool", None)
    [opened] = investigations.listed(ledger, worker=bad.id)
    why = "jobs of 3 owners failed on it in a row: ana, ben, cem"
    assert (opened.cause, opened.evidence["why"], len(opened.evidence["ends"])) == (
        SuspectedCause.SEVERAL_OWNERS,
        why,
        4,
    )
    sentence = f"render-0 is to be looked into: {why}; it is paused until a person resumes it"
    [told] = events.notifications(ledger, "root")
    assert (told.kind, told.sentence, told.facts["paused"]) == ("worker.paused", sentence, True)
    assert events.listed(ledger, worker=bad.id)[0].sentence == sentence
    assert [now(ledger, each).intent for each in pool[1:]] == [Intent.ACTIVE] * 4


@pytest.mark.parametrize(
    "rest", [{"cause": "gpu memory"}, {"then": "later"}, {"end": "stopped", "cause": "good-bye"}, {"cause": "slot"}]
)
def test_ends_that_say_nothing_of_the_worker_do_not_count(
    ledger: Ledger, pool: list[Worker], rest: dict[str, Any]
) -> None:
    for owner in ("ana", "ben"):
        fail(ledger, pool[0], owner)
    fail(ledger, pool[0], "cem", **rest)

    assert not looked_into(ledger, pool[0])
    fail(ledger, pool[0], "dora")
    assert looked_into(ledger, pool[0])


def test_a_success_ends_the_row(ledger: Ledger, pool: list[Worker]) -> None:
    for owner in ("ana", "ben"):
        fail(ledger, pool[0], owner)
    succeed(ledger, pool[0])
    fail(ledger, pool[0], "cem")

    assert not looked_into(ledger, pool[0])


def test_errors_on_several_workers_are_no_row(ledger: Ledger, pool: list[Worker]) -> None:
    for worker, owner in zip(pool, ("ana", "ben", "cem"), strict=False):
        fail(ledger, worker, owner)

    assert investigations.listed(ledger) == []


def test_a_fifth_of_the_pool_is_the_most_that_is_paused_so(ledger: Ledger, pool: list[Worker]) -> None:
    for worker in pool[:2]:
        for owner in ("ana", "ben", "cem"):
            fail(ledger, worker, owner)

    assert [now(ledger, each).intent for each in pool[:2]] == [Intent.PAUSED, Intent.ACTIVE]
    assert all(looked_into(ledger, each) for each in pool[:2])
    told = events.notifications(ledger, "root")
    assert [each.kind for each in told] == ["worker.suspected", "worker.paused"]
    assert told[0].sentence.endswith(TOO_MANY)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_in_a_small_pool_one_worker_is_paused_so_and_no_second(ledger: Ledger, size: int) -> None:
    small = [join(ledger, f"render-{number}") for number in range(size)]
    for worker in small[:2]:
        for owner in ("ana", "ben", "cem"):
            fail(ledger, worker, owner)

    assert [now(ledger, worker).intent for worker in small[:2]] == [Intent.PAUSED, Intent.ACTIVE]
    assert all(looked_into(ledger, worker) for worker in small[:2])


@pytest.mark.parametrize("other", [None, Health.DOWN])
def test_the_last_worker_that_takes_jobs_is_never_paused_so(ledger: Ledger, other: Health | None) -> None:
    tokens.create(ledger, "admin", "root")
    last = join(ledger, "render-0")
    if other:
        assert workers.set_health(ledger, join(ledger, "render-1"), other, "silent", "down")
    for owner in ("ana", "ben", "cem"):
        fail(ledger, last, owner)

    assert now(ledger, last).intent is Intent.ACTIVE
    assert looked_into(ledger, last)
    assert events.notifications(ledger, "root")[0].sentence.endswith(THE_LAST)


def test_what_people_have_paused_is_not_counted_in_that_fifth(ledger: Ledger, pool: list[Worker]) -> None:
    assert pauses.set_intents(ledger, [pool[1].id], Intent.PAUSED)
    for owner in ("ana", "ben", "cem"):
        fail(ledger, pool[0], owner)

    assert now(ledger, pool[0]).intent is Intent.PAUSED


def test_a_worker_that_a_person_has_paused_stays_theirs(ledger: Ledger, pool: list[Worker]) -> None:
    held = [running(ledger, pool[0], submit(ledger, owner=owner, max_failures=1)) for owner in ("ana", "ben", "cem")]
    assert pauses.set_intents(ledger, [pool[0].id], Intent.PAUSED, by="ana")
    for job in held:
        assert tell(ledger, pool[0], job, 1, "end", end="failed", cause="workflow") is Applied.ENDED

    assert now(ledger, pool[0]).paused_by == "ana"
    assert events.notifications(ledger, "root")[0].sentence.endswith("it is not paused, since it is paused")


def test_of_two_workers_that_fail_at_once_one_is_paused_where_one_may_be(
    ledger: Ledger, pool: list[Worker], database_url: str
) -> None:
    last = []
    for worker in pool[:2]:
        for owner in ("ana", "ben"):
            fail(ledger, worker, owner)
        job = running(ledger, worker, submit(ledger, owner="cem", max_failures=1))
        last.append(Report("end", worker.id, worker.incarnation, job.id, 1, end="failed", cause="workflow"))
    outcomes: list[Applied] = []

    overlapping(
        database_url,
        lambda tx: outcomes.append(reports.apply(tx, last[0])),
        lambda tx: outcomes.append(reports.apply(tx, last[1])),
    )

    assert outcomes == [Applied.WORKER_BARRED, Applied.ENDED]
    assert [now(ledger, each).intent for each in pool[:2]] == [Intent.PAUSED, Intent.ACTIVE]


def test_two_reports_at_once_are_looked_into_once(ledger: Ledger, pool: list[Worker], database_url: str) -> None:
    for owner in ("ana", "ben"):
        fail(ledger, pool[0], owner)
    last = [running(ledger, pool[0], submit(ledger, owner=owner, max_failures=1)) for owner in ("cem", "dora")]
    ends = [Report("end", pool[0].id, pool[0].incarnation, job.id, 1, end="failed") for job in last]
    outcomes: list[Applied] = []

    overlapping(
        database_url,
        lambda tx: outcomes.append(reports.apply(tx, ends[0])),
        lambda tx: outcomes.append(reports.apply(tx, ends[1])),
    )

    assert outcomes == [Applied.WORKER_BARRED, Applied.ENDED]
    assert len(events.notifications(ledger, "root")) == 1


def test_a_worker_that_a_person_resumed_is_counted_anew(ledger: Ledger, pool: list[Worker]) -> None:
    for owner in ("ana", "ben", "cem"):
        fail(ledger, pool[0], owner)
    [opened] = investigations.listed(ledger)
    assert investigations.resolve(ledger, opened.id, "root", "new driver")
    assert now(ledger, pool[0]).intent is Intent.PAUSED  # resolving it resumes nothing
    assert pauses.set_intents(ledger, [pool[0].id], Intent.ACTIVE)

    assert [fail(ledger, pool[0], owner) for owner in ("ana", "ben")] == [Applied.ENDED] * 2
    assert not looked_into(ledger, pool[0])
    assert fail(ledger, pool[0], "cem") is Applied.WORKER_BARRED
    assert looked_into(ledger, pool[0])


def test_to_an_investigation_that_is_open_it_is_a_note(ledger: Ledger, pool: list[Worker]) -> None:
    investigations.begin(ledger, pool[0].id, 1, SuspectedCause.HOST_SILENT, {}, 1.0)
    for owner in ("ana", "ben", "cem"):
        fail(ledger, pool[0], owner)

    [opened] = investigations.listed(ledger)
    assert opened.cause == "host silent"
    [note] = investigations.notes(ledger, opened.id)
    assert (note.author, note.text) == ("pool", "jobs of 3 owners failed on it in a row: ana, ben, cem")
    assert now(ledger, pool[0]).intent is Intent.PAUSED
