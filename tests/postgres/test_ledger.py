"""The fence: what a job's attempt may do is decided in the ledger, whoever asks and however late."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import fields
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from app.ledger import attempts, jobs, open_attempts, waiting
from app.ledger.db import Ledger, queries
from app.ledger.registry import joins, pauses, workers
from app.ledger.reports import Applied
from app.pool.model import AttemptEnd, Health, Intent, JobSpec, JobState, Requirement
from tests.kit.actors import assign, classes, found, heads, join, overlapping, running, submit, tell


def test_a_claim_moves_exactly_the_assigned_attempt(ledger: Ledger) -> None:
    worker = join(ledger)
    job = assign(ledger, submit(ledger), worker)

    assert tell(ledger, worker, job, 1, "claim", nonce="n1") is Applied.CLAIMED
    assert found(ledger, job).state is JobState.RUNNING


def test_a_claim_sent_twice_is_one_claim(ledger: Ledger) -> None:
    worker = join(ledger)
    job = assign(ledger, submit(ledger), worker)

    assert tell(ledger, worker, job, 1, "claim", nonce="n1") is Applied.CLAIMED
    assert tell(ledger, worker, job, 1, "claim", nonce="n1") is Applied.REPEATED


def test_an_attempt_from_the_beginning_never_resumes_from_its_own_checkpoint(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    tell(ledger, worker, job, 1, "checkpoint", number=1, state={"step": 1})
    assert tell(ledger, worker, job, 1, "claim", nonce="n") is Applied.REPEATED

    assert attempts.of_job(ledger, job.id)[0].resumed_from is None


def test_a_second_delivery_is_refused(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)

    assert tell(ledger, worker, job, 1, "claim", nonce="another") is Applied.DOUBLED
    assert found(ledger, job).state is JobState.RUNNING


def test_a_stale_envelope_is_refused(ledger: Ledger) -> None:
    worker = join(ledger)
    job = assign(ledger, submit(ledger), worker)
    assert open_attempts.take_back(ledger, job.id, 1, "re-tagged")

    assert tell(ledger, worker, job, 1, "claim", nonce="n") is Applied.REFUSED
    assert found(ledger, job).attempt == 2


def test_a_claim_of_an_older_incarnation_is_refused(ledger: Ledger) -> None:
    old = join(ledger)
    job = assign(ledger, submit(ledger), old)
    join(ledger)

    assert tell(ledger, old, job, 1, "claim", nonce="n") is Applied.REFUSED


def test_two_placements_of_one_job_give_one_attempt(ledger: Ledger) -> None:
    a, b = join(ledger, "a"), join(ledger, "b")
    job = submit(ledger)
    wishes = [waiting.Assignment(job.id, 1, w.id, w.incarnation) for w in (a, b)]

    moved = _together(lambda: waiting.assign(ledger, wishes[:1]), lambda: waiting.assign(ledger, wishes[1:]))

    assert sorted(map(len, moved)) == [0, 1]
    assert len(attempts.of_job(ledger, job.id)) == 1


def test_a_worker_that_is_not_active_is_assigned_nothing(ledger: Ledger) -> None:
    worker = join(ledger)
    assert pauses.set_intents(ledger, [worker.id], Intent.PAUSED)

    assert not waiting.assign(ledger, [waiting.Assignment(submit(ledger).id, 1, worker.id, worker.incarnation)])


def test_a_degraded_worker_is_assigned_nothing(ledger: Ledger) -> None:
    worker = join(ledger)
    assert workers.set_health(ledger, worker, Health.DEGRADED, "silent", "degraded")

    assert not waiting.assign(ledger, [waiting.Assignment(submit(ledger).id, 1, worker.id, worker.incarnation)])


def test_a_slow_worker_is_refused_after_failover(ledger: Ledger) -> None:
    slow, fresh = join(ledger, "slow"), join(ledger, "fresh")
    job = running(ledger, slow)
    open_attempts.take_away_all(ledger, slow.id, "silent")
    running(ledger, fresh, found(ledger, job))

    assert tell(ledger, fresh, job, 2, "checkpoint", number=1, state={"frame": 10}) is Applied.STORED
    assert tell(ledger, slow, job, 1, "checkpoint", number=9, state={"frame": 99}) is Applied.REFUSED
    assert tell(ledger, slow, job, 1, "end", end="succeeded", result="old") is Applied.REFUSED
    newest = attempts.newest_checkpoints(ledger, [job.id]).get(job.id)
    assert newest is not None and newest.state == {"frame": 10}
    assert tell(ledger, fresh, job, 2, "end", end="succeeded", result="new") is Applied.ENDED
    result = jobs.result(ledger, job.id)
    assert result is not None and result.result == "new"
    assert {row["kind"] for row in attempts.refused_reports(ledger, job.id)} == {"checkpoint", "end"}


def test_a_checkpoint_of_a_later_attempt_counts_more_than_a_higher_number_of_an_earlier(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    assert tell(ledger, worker, job, 1, "checkpoint", number=7, state="old") is Applied.STORED
    open_attempts.take_away(ledger, job.id, 1, "drain")
    running(ledger, worker, found(ledger, job))

    assert tell(ledger, worker, job, 2, "checkpoint", number=1, state="new") is Applied.STORED
    newest = attempts.newest_checkpoints(ledger, [job.id]).get(job.id)
    assert newest is not None and newest.state == "new"


def test_the_end_wins_over_a_take_away_that_comes_after_it(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)

    assert tell(ledger, worker, job, 1, "end", end="succeeded", result=1) is Applied.ENDED
    assert open_attempts.take_away_all(ledger, worker.id, "silent") == []
    assert found(ledger, job).state is JobState.SUCCEEDED


def test_an_end_told_twice_is_settled_twice_and_counted_once(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)

    assert tell(ledger, worker, job, 1, "end", end="failed", cause="workflow", error="bad") is Applied.ENDED
    assert tell(ledger, worker, job, 1, "end", end="failed", cause="workflow", error="bad") is Applied.ENDED
    assert found(ledger, job).failures == 1


def test_taking_away_and_ending_at_once_leave_one_outcome(ledger: Ledger) -> None:
    worker = join(ledger)
    for _ in range(10):
        job = running(ledger, worker)
        end, taken = _together(
            lambda job=job: tell(ledger, worker, job, 1, "end", end="succeeded"),
            lambda: open_attempts.take_away_all(ledger, worker.id, "silent"),
        )
        now = found(ledger, job)
        assert (end is Applied.ENDED) == (not taken) == (now.state is JobState.SUCCEEDED)
        assert now.attempt == (2 if taken else 1)
        jobs.cancel(ledger, job.id)


def test_cancelling_and_claiming_at_once_leave_a_cancelled_job(ledger: Ledger) -> None:
    worker = join(ledger)
    for _ in range(10):
        job = assign(ledger, submit(ledger), worker)
        cancelled, claimed = _together(
            lambda job=job: jobs.cancel(ledger, job.id),
            lambda job=job: tell(ledger, worker, job, 1, "claim", nonce="n"),
        )
        now = found(ledger, job)
        assert cancelled is not None and now.state is JobState.CANCELLED
        # Claimed first: processes may be left, so its attempt is open until the worker says its end.
        assert now.attempt_ended is (claimed is Applied.REFUSED)


def test_a_cancelled_attempt_ends_with_its_last_process(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    jobs.cancel(ledger, job.id)
    assert not found(ledger, job).attempt_ended

    assert tell(ledger, worker, job, 1, "end", end="cancelled") is Applied.ENDED
    assert found(ledger, job).attempt_ended
    assert attempts.of_job(ledger, job.id)[0].end is AttemptEnd.CANCELLED


def test_a_job_fails_when_its_failures_are_used_up_and_not_before(ledger: Ledger) -> None:
    worker = join(ledger)
    job = submit(ledger, max_failures=2)
    running(ledger, worker, job)
    tell(ledger, worker, job, 1, "end", end="failed", cause="guard", error="killed")
    assert found(ledger, job).state is JobState.PENDING
    assert found(ledger, job).not_before is None  # a death is tried again at once

    running(ledger, worker, found(ledger, job))
    tell(ledger, worker, job, 2, "end", end="failed", cause="workflow", error="bad frame")
    assert found(ledger, job).state is JobState.FAILED
    assert found(ledger, job).error == "bad frame"


def test_the_jobs_own_error_waits_before_it_is_tried_again(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    tell(ledger, worker, job, 1, "end", end="failed", cause="workflow", error="bad")

    due = found(ledger, job).not_before
    assert due is not None and timedelta(0) < due - datetime.now(timezone.utc) <= timedelta(seconds=5)
    assert not waiting.due(ledger) and not classes(ledger)
    assert waiting.due(ledger, due + timedelta(seconds=1)) == 1
    assert [head.id for head in heads(ledger)] == [job.id]


@pytest.mark.parametrize("cause", ["deadline", "slot"])
def test_what_is_not_the_jobs_fault_counts_no_failure(ledger: Ledger, cause: str) -> None:
    worker = join(ledger)
    job = running(ledger, worker)

    tell(ledger, worker, job, 1, "end", end="failed", cause=cause)

    now = found(ledger, job)
    assert (now.state, now.failures, now.attempt) == (JobState.PENDING, 0, 2)


def test_a_strict_job_is_not_taken_away_on_mere_silence(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker, submit(ledger, strict=True))

    assert open_attempts.take_away_all(ledger, worker.id, "silent") == []
    taken = open_attempts.take_away_all(ledger, worker.id, "silent for long", spare_strict=False)
    assert [t.job for t in taken] == [job.id]


def test_progress_is_never_shown_below_the_checkpoint(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)
    tell(ledger, worker, job, 1, "progress", number=1, fraction=0.5)
    tell(ledger, worker, job, 1, "checkpoint", number=1, state={}, fraction=0.4)
    open_attempts.take_away(ledger, job.id, 1, "silent")
    assert found(ledger, job).progress == 0.4

    running(ledger, worker, found(ledger, job))
    tell(ledger, worker, job, 2, "progress", number=1, fraction=0.1)
    assert found(ledger, job).progress == 0.4


def test_a_report_with_what_postgresql_cannot_hold_is_kept_cleaned(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker)

    tell(ledger, worker, job, 1, "progress", number=1, fraction=0.5, text="a\x00b \ud800")
    assert found(ledger, job).text == "a\ufffdb ?"
    tell(ledger, worker, job, 1, "end", end="succeeded", result={"k\x00": "\\u0000 \x00"})

    result = jobs.result(ledger, job.id)
    assert result is not None and result.result == {"k\ufffd": "\\u0000 \ufffd"}


def test_an_older_join_cannot_replace_a_newer_one(ledger: Ledger) -> None:
    worker = join(ledger)
    older = _begin(ledger, worker.name)
    newer = _begin(ledger, worker.name)
    assert older.incarnation < newer.incarnation

    assert joins.confirm(ledger, newer) is not None
    assert joins.confirm(ledger, older) is None


def test_a_join_that_is_confirmed_while_its_worker_is_called_down_goes_on_from_there(
    ledger: Ledger, database_url: str
) -> None:
    worker = join(ledger)
    anew = _begin(ledger, worker.name)

    overlapping(
        database_url,
        lambda tx: workers.set_health(tx, worker, Health.DOWN, "gone", "down"),
        lambda tx: joins.confirm(tx, anew),
    )

    newest, before = workers.transitions(ledger, worker.id, limit=2)
    assert (newest.incarnation, newest.from_health, newest.to_health) == (2, Health.DOWN, Health.HEALTHY)
    assert before.to_health is Health.DOWN


def test_of_two_leaders_one_writes_the_transition(ledger: Ledger) -> None:
    worker = join(ledger)

    won = _together(*[lambda: workers.set_health(ledger, worker, Health.DEGRADED, "silent", "degraded")] * 2)

    assert sorted(won) == [False, True]
    degraded = [t for t in workers.transitions(ledger, worker.id) if t.to_health is Health.DEGRADED]
    assert len(degraded) == 1 and degraded[0].cause == "silent"


def _begin(ledger: Ledger, name: str) -> joins.Join:
    from app.ledger import tokens
    from tests.kit.actors import offer

    asked = offer(name)
    known = joins.by_identity(ledger, joins.identity_of(asked))
    assert known is not None
    return joins.begin(ledger, known.id, asked, tokens.digest(tokens.new_secret("agent")))


def _together(*calls: object) -> list:  # type: ignore[type-arg]
    """Run the calls at once, each in a thread; returns their results in order."""
    gate, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index: int) -> None:
        gate.wait(5)
        results[index] = calls[index]()  # type: ignore[operator]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return results


def test_each_column_of_a_new_job_that_has_a_default_is_written_by_the_submission(database_url: str) -> None:
    """An INSERT of whole records takes no default: a column added later is to be named in jobs_submit too."""
    with psycopg.connect(database_url) as connection:
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'jobs' AND is_nullable = 'NO'"
            " AND column_default IS NOT NULL"
        ).fetchall()
    listed = re.search(r"'({.*?})'", queries()["jobs_submit"], re.DOTALL)
    assert listed is not None
    by_submitter = {jobs.COLUMNS.get(each.name, each.name) for kind in (JobSpec, Requirement) for each in fields(kind)}
    written = by_submitter | json.loads(listed[1]).keys() | {"created_at"}
    assert {name for (name,) in columns} - written == set()
