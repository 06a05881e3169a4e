"""A worker is blocked for a workflow that fails there while it succeeds elsewhere; opened once, ended once."""

from __future__ import annotations

from typing import Any, get_args

import psycopg
import pytest

from app.ledger import blocks, events, failures, open_attempts, policy, reports
from app.ledger.db import Ledger
from app.ledger.registry import workers
from app.ledger.reports import Applied
from app.pool.model import Job, Requirement, Then, Worker
from app.pool.protocol import Cause, Report
from tests.kit.actors import join, overlapping, running, submit, tell


def fail(ledger: Ledger, worker: Worker, job: Job | None = None, **rest: Any) -> Applied:
    """A job of its own that fails on this worker."""
    job = running(ledger, worker, job or submit(ledger, max_failures=1))
    return tell(ledger, worker, job, job.attempt, "end", **{"end": "failed", "cause": "workflow", **rest})


def succeed(ledger: Ledger, worker: Worker, job: Job | None = None) -> None:
    job = job or running(ledger, worker)
    assert tell(ledger, worker, job, job.attempt, "end", end="succeeded") is Applied.ENDED


def blocked(ledger: Ledger, worker: Worker) -> dict[str, str]:
    found = workers.find(ledger, worker.id)
    assert found is not None
    assert next(each.blocked for each in workers.listed(ledger) if each.id == worker.id) == found.blocked
    return dict(found.blocked)


def two(ledger: Ledger) -> tuple[Worker, Worker]:
    """A worker on which two jobs have failed in a row, and another on which one has succeeded since."""
    bad, good = join(ledger, "bad"), join(ledger, "good")
    for _ in range(2):
        assert fail(ledger, bad) is Applied.ENDED
    succeed(ledger, good)
    return bad, good


def test_the_third_failure_in_a_row_while_another_succeeds_blocks_with_the_reason(ledger: Ledger) -> None:
    bad, good = two(ledger)

    assert fail(ledger, bad) is Applied.WORKER_BARRED

    [words] = blocked(ledger, bad).values()
    [block] = blocks.listed(ledger, bad.id)
    assert words == f"until {block.until:%H:%M} UTC (3 failures in a row while others succeed)"
    assert (block.until - block.since).total_seconds() == 3600
    assert blocked(ledger, good) == {}
    event = events.listed(ledger, worker=bad.id)[0]
    assert (event.kind, event.sentence) == ("worker.blocked", f"bad is blocked for burn {words}")


def test_a_block_that_begins_or_ends_makes_another_version_of_its_worker(ledger: Ledger) -> None:
    bad, good = two(ledger)
    before = workers.versions(ledger)
    fail(ledger, bad)
    during = workers.versions(ledger)
    assert during[bad.id] != before[bad.id] and during[good.id] == before[good.id]
    assert workers.found(ledger, [bad.id])[0].blocked == blocked(ledger, bad)
    blocks.forgive(ledger, [bad.id], None, "ana")
    assert workers.versions(ledger)[bad.id] != during[bad.id]


def test_failures_that_everybody_has_block_nobody(ledger: Ledger) -> None:
    bad, other = join(ledger, "bad"), join(ledger, "other")

    outcomes = [fail(ledger, worker) for _ in range(4) for worker in (bad, other)]

    assert set(outcomes) == {Applied.ENDED}


def test_a_success_before_the_first_of_them_began_does_not_count(ledger: Ledger) -> None:
    bad, good = join(ledger, "bad"), join(ledger, "good")
    succeed(ledger, good)

    assert [fail(ledger, bad) for _ in range(4)] == [Applied.ENDED] * 4


def test_the_workers_own_success_ends_the_row(ledger: Ledger) -> None:
    bad, _ = two(ledger)
    succeed(ledger, bad)

    assert [fail(ledger, bad) for _ in range(2)] == [Applied.ENDED] * 2
    assert blocked(ledger, bad) == {}


def test_its_own_success_is_not_that_of_others(ledger: Ledger) -> None:
    bad = join(ledger, "bad")
    slow = running(ledger, bad, submit(ledger, max_failures=1))
    succeed(ledger, bad)

    tell(ledger, bad, slow, 1, "end", end="failed", cause="workflow")

    assert [fail(ledger, bad) for _ in range(2)] == [Applied.ENDED] * 2


@pytest.mark.parametrize(
    "end",
    [
        {"cause": "gpu memory"},
        {"then": "later"},
        {"end": "stopped", "cause": "good-bye"},
        {"cause": "deadline"},
        {"cause": "slot"},
    ],
)
def test_ends_that_say_nothing_of_the_worker_neither_count_nor_end_the_row(ledger: Ledger, end: dict[str, Any]) -> None:
    bad, good = join(ledger, "bad"), join(ledger, "good")
    fail(ledger, bad)
    succeed(ledger, good)

    outcomes = [fail(ledger, bad, **end), *(fail(ledger, bad) for _ in range(2))]

    assert outcomes == [Applied.ENDED, Applied.ENDED, Applied.WORKER_BARRED]


@pytest.mark.parametrize("cause", ["timeout", "stall", "guard"])
def test_a_time_limit_and_a_death_are_the_jobs_own_error(ledger: Ledger, cause: str) -> None:
    bad, _ = two(ledger)

    assert fail(ledger, bad, cause=cause) is Applied.WORKER_BARRED


def test_what_was_taken_away_or_back_says_nothing_of_the_worker(ledger: Ledger) -> None:
    bad, _ = two(ledger)
    running(ledger, bad)
    open_attempts.take_away_all(ledger, bad.id, "silent")

    assert fail(ledger, bad) is Applied.WORKER_BARRED


def test_other_workflows_are_not_touched(ledger: Ledger) -> None:
    bad, _ = two(ledger)
    paint = submit(ledger, Requirement("paint"), max_failures=1)

    assert fail(ledger, bad, paint) is not Applied.WORKER_BARRED
    assert fail(ledger, bad) is Applied.WORKER_BARRED
    assert list(blocked(ledger, bad)) == ["burn"]


@pytest.mark.parametrize(
    ("before", "told"), [(1, [Applied.ENDED, Applied.WORKER_BARRED]), (2, [Applied.WORKER_BARRED, Applied.ENDED])]
)
def test_two_reports_at_once_open_one_block(
    ledger: Ledger, database_url: str, before: int, told: list[Applied]
) -> None:
    bad, good = join(ledger, "bad"), join(ledger, "good")
    for _ in range(before):
        fail(ledger, bad)
    succeed(ledger, good)
    first, second = (running(ledger, bad, submit(ledger, max_failures=1)) for _ in range(2))
    outcomes: list[Applied] = []

    def end(tx: Ledger, job: Job) -> None:
        report = Report("end", bad.id, bad.incarnation, job.id, 1, end="failed", cause="workflow")
        outcomes.append(reports.apply(tx, report))

    overlapping(database_url, lambda tx: end(tx, first), lambda tx: end(tx, second))

    assert outcomes == told
    assert len(blocks.listed(ledger, bad.id)) == 1


def test_a_forgiven_worker_is_counted_anew(ledger: Ledger) -> None:
    bad, good = two(ledger)
    fail(ledger, bad)

    assert blocks.forgive(ledger, [bad.id], "burn", "root") == {bad.id}
    assert blocks.forgive(ledger, [bad.id], None, "eve") == set()
    assert blocked(ledger, bad) == {}
    event = events.listed(ledger, worker=bad.id)[0]
    assert (event.actor, event.sentence) == ("root", "bad may run burn again: root forgave it")
    assert fail(ledger, bad) is Applied.ENDED
    succeed(ledger, good)
    assert [fail(ledger, bad) for _ in range(2)] == [Applied.ENDED, Applied.WORKER_BARRED]


def test_a_block_ends_when_its_time_is_over_and_only_once(ledger: Ledger, database_url: str) -> None:
    bad, _ = two(ledger)
    fail(ledger, bad)
    assert blocks.over(ledger) == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE worker_blocks SET until = now()")

    assert sorted([blocks.over(ledger), blocks.over(ledger)]) == [0, 1]
    assert blocked(ledger, bad) == {}
    assert events.listed(ledger, worker=bad.id)[0].sentence == "bad may run burn again: its block is over"


def test_how_many_and_how_long_are_settings(ledger: Ledger) -> None:
    policy.write(ledger, {"block_failures": 1, "block_s": 86_400}, "root")
    bad, good = join(ledger, "bad"), join(ledger, "good")
    job = running(ledger, bad)
    succeed(ledger, good)

    assert tell(ledger, bad, job, 1, "end", end="failed", cause="workflow") is Applied.WORKER_BARRED
    [block] = blocks.listed(ledger, bad.id)
    assert blocked(ledger, bad) == {"burn": f"until {block.until:%Y-%m-%d %H:%M} UTC (a failure while others succeed)"}


@pytest.mark.parametrize("then", [None, *get_args(Then)])
@pytest.mark.parametrize("cause", Cause)
def test_code_and_schema_agree_which_failures_speak_against_a_worker(
    ledger: Ledger, database_url: str, cause: Cause, then: Then | None
) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    with psycopg.connect(database_url, autocommit=True) as connection:
        end = "UPDATE attempts SET end_word = 'failed', ended_at = now(), cause = %s, then_word = %s"
        connection.execute(end, (str(cause), then))
        [telling] = connection.execute("SELECT count(*) FROM telling_ends").fetchall()
        indexes = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'attempts_telling%%'"
        ).fetchall()
    report = Report("end", worker.id, 1, job.id, job.attempt, end="failed", cause=cause, then=then)
    assert telling == (failures.speaks_against_worker(report),)
    assert len({index.partition(" WHERE ")[2] for (index,) in indexes}) == 1  # the view's condition, or plans lose them
