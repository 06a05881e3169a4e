"""What follows for a job from its attempt's failure: now, later, elsewhere or never; a larger card."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from app.ledger import attempts, reports
from app.ledger.db import Ledger
from app.ledger.failures import RETRY, Shortage
from app.ledger.reports import Applied
from app.ledger.waiting import WaitingJob
from app.pool.model import Job, JobState, Worker
from app.pool.protocol import Report
from tests.kit.actors import classes, found, heads, join, running, submit, tell


def failed(ledger: Ledger, worker: Worker, shortage: Shortage | None = None, **rest: Any) -> Job:
    """A job with three failures to spend, after its first."""
    job = running(ledger, worker, submit(ledger, max_failures=3))
    said = {"end": "failed", "cause": "workflow", **rest}
    report = Report("end", worker.id, worker.incarnation, job.id, job.attempt, **said)
    [(_, applied)] = reports.apply_all(ledger, [report], {(job.id, job.attempt): shortage} if shortage else {})
    assert applied is Applied.ENDED
    assert attempts.of_job(ledger, job.id)[0].then == rest.get("then")
    return found(ledger, job)


def waits_s(job: Job) -> float:
    return (job.not_before - datetime.now(timezone.utc)).total_seconds() if job.not_before else 0.0


def due(ledger: Ledger) -> list[WaitingJob]:
    return heads(ledger)


def test_a_rule_that_says_never_fails_the_job_whatever_it_may_still_spend(ledger: Ledger) -> None:
    job = failed(ledger, join(ledger), then="never", error="bad input")
    assert (job.state, job.failures, job.error) == (JobState.FAILED, 1, "bad input")
    assert job.ended_at is not None


@pytest.mark.parametrize("rest", [{}, {"cause": "timeout"}, {"signal": 11}])
def test_a_rule_that_says_later_waits_also_where_a_death_would_not(ledger: Ledger, rest: dict[str, Any]) -> None:
    job = failed(ledger, join(ledger), then="later", **rest)
    assert (job.state, job.failures) == (JobState.PENDING, 1)
    assert 0 < waits_s(job) <= RETRY.first_s
    assert not due(ledger)


def test_a_rule_that_says_elsewhere_is_tried_at_once_and_knows_where_not(ledger: Ledger) -> None:
    worker = join(ledger)
    job = failed(ledger, worker, then="elsewhere")
    assert waits_s(job) == 0
    [head] = due(ledger)
    assert (head.id, found(ledger, job).failed_on, job.failures) == (job.id, frozenset({worker.id}), 1)
    assert classes(ledger)[head.class_name].failed_on == {worker.id}


def test_failures_that_a_rule_has_tried_again_are_used_up_all_the_same(ledger: Ledger) -> None:
    worker = join(ledger)
    job = running(ledger, worker, submit(ledger, max_failures=1))
    tell(ledger, worker, job, 1, "end", end="failed", cause="workflow", then="later")
    assert found(ledger, job).state is JobState.FAILED


def test_without_gpu_memory_it_wants_a_larger_card_at_once_where_there_is_one(ledger: Ledger) -> None:
    job = failed(ledger, join(ledger), Shortage(11_000, larger=True), cause="gpu memory")
    assert (job.failures, waits_s(job), job.waiting) == (1, 0, None)
    [head] = due(ledger)
    assert classes(ledger)[head.class_name].requirement.above_vram_mb == 11_000


def test_where_no_card_is_larger_it_waits_and_says_so(ledger: Ledger) -> None:
    job = failed(ledger, join(ledger), Shortage(11_000, larger=False), cause="gpu memory")
    assert waits_s(job) > 0
    assert job.waiting == (
        "ran out of GPU memory, and no worker that could run it has a card with more than 11000 MiB free; "
        "tried again, elsewhere if possible"
    )


def test_a_rule_counts_more_than_a_larger_card(ledger: Ledger) -> None:
    worker = join(ledger)
    later = failed(ledger, worker, Shortage(11_000, larger=True), cause="gpu memory", then="later")
    assert (waits_s(later) > 0, later.spec.requirement.above_vram_mb) == (True, 11_000)
    never = failed(ledger, worker, Shortage(11_000, larger=True), cause="gpu memory", then="never")
    assert never.state is JobState.FAILED


def test_of_two_cards_that_were_too_small_the_larger_is_remembered(ledger: Ledger) -> None:
    worker = join(ledger)
    job = failed(ledger, worker, Shortage(11_000, larger=True), cause="gpu memory")
    for had_mb in (8_000, None):
        job = running(ledger, worker, job)
        report = Report("end", worker.id, worker.incarnation, job.id, job.attempt, end="failed", cause="gpu memory")
        reports.apply_all(ledger, [report], {(job.id, job.attempt): Shortage(had_mb, larger=True)})
        job = found(ledger, job)
        assert job.spec.requirement.above_vram_mb == 11_000
