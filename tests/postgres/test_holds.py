"""A workflow on hold: opened by a rule, moved on by the job that tries, ended when one got through or by a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from app.ledger import attempts, events, holds, jobs, open_attempts, waiting
from app.ledger.db import Ledger
from app.ledger.holds import Hold
from app.ledger.reports import Applied
from app.ledger.waiting import Assignment
from app.pool.model import AttemptEnd, Health, Job, JobState, Requirement, Worker
from app.pool.status import JobStatus, job_status
from tests.kit.actors import found, join, overlapping, running, submit, tell

LINE = "no licence for burn"
FAR = "until = now() + interval '1 hour'"


@pytest.fixture
def worker(ledger: Ledger) -> Worker:
    return join(ledger)


def meet(ledger: Ledger, worker: Worker, job: Job | None = None) -> Job:
    """A job that meets the hold: it runs, and a rule says so."""
    job = running(ledger, worker, job) if job is None or job.state is JobState.PENDING else job
    end = {"end": "failed", "cause": "workflow", "then": "hold", "because": LINE}
    assert tell(ledger, worker, job, job.attempt, "end", **end) is Applied.ENDED
    return found(ledger, job)


def the_hold(ledger: Ledger) -> Hold:
    [hold] = holds.listed(ledger)
    return hold


def past(database_url: str, what: str = "until = now()", table: str = "holds") -> None:
    """Time has passed: of the hold, or of what runs."""
    with psycopg.connect(database_url) as connection:
        connection.execute(f"UPDATE {table} SET {what}")


def assign(ledger: Ledger, worker: Worker, *some: Job) -> set[str]:
    """The ids of those of these jobs that could be assigned."""
    wanted = [Assignment(job.id, job.attempt, worker.id, worker.incarnation) for job in some]
    return set(waiting.assign(ledger, wanted))


def trying(ledger: Ledger, worker: Worker, database_url: str) -> Job:
    """A job that tries, and runs."""
    past(database_url)
    return running(ledger, worker)


def pause_s(ledger: Ledger, job: Job) -> float:
    """How long the hold lasts after the end of the job's last attempt, which met it."""
    ended_at = attempts.of_job(ledger, job.id)[-1].ended_at
    assert ended_at
    return (the_hold(ledger).until - ended_at).total_seconds()


def test_who_meets_it_waits_again_without_a_failure_and_the_hold_says_why(ledger: Ledger, worker: Worker) -> None:
    job = meet(ledger, worker, submit(ledger, max_failures=1))
    assert (job.state, job.attempt, job.failures, job.failed_on) == (JobState.PENDING, 2, 0, frozenset())
    [attempt] = attempts.of_job(ledger, job.id)
    assert (attempt.end, attempt.then) == (AttemptEnd.STOPPED, "hold")
    hold = the_hold(ledger)
    assert (hold.workflow, hold.why, hold.met, hold.probe, hold.may_try) == ("burn", LINE, 1, None, False)
    assert 4.0 <= pause_s(ledger, job) <= 5.0
    words = f"burn is on hold since {hold.since:%H:%M} UTC: {LINE}; one job tries again at {hold.until:%H:%M} UTC"
    assert hold.words == words
    [event] = [each for each in events.listed(ledger, job=job.id) if each.kind == "workflow.held"]
    assert event.sentence.startswith(f"burn is on hold: {LINE}; one job tries again at ")


def test_an_end_that_is_told_again_changes_nothing(ledger: Ledger, worker: Worker) -> None:
    job = running(ledger, worker)
    meet(ledger, worker, job)
    before = the_hold(ledger)
    meet(ledger, worker, job)
    assert the_hold(ledger) == before
    assert found(ledger, job).attempt == 2


def test_no_job_of_it_is_assigned_and_all_others_are(ledger: Ledger, worker: Worker, database_url: str) -> None:
    meet(ledger, worker)
    past(database_url, FAR)
    other = submit(ledger, Requirement("render"))
    assert assign(ledger, worker, submit(ledger), other) == {other.id}


def test_when_the_back_off_is_over_one_of_a_batch_tries_the_oldest(
    ledger: Ledger, worker: Worker, database_url: str
) -> None:
    meet(ledger, worker)
    some = [submit(ledger) for _ in range(3)]
    past(database_url)
    assert the_hold(ledger).may_try
    assert assign(ledger, worker, *reversed(some)) == {some[0].id}
    assert (the_hold(ledger).probe, the_hold(ledger).may_try) == (some[0].id, False)
    assert assign(ledger, worker, *some[1:]) == set()
    assert the_hold(ledger).words.endswith("; one job tries now")


def test_of_two_leaders_that_assign_at_once_one_lets_a_job_try(
    ledger: Ledger, worker: Worker, database_url: str
) -> None:
    meet(ledger, worker)
    one, two = submit(ledger), submit(ledger)
    past(database_url)
    moved: list[set[str]] = []
    overlapping(
        database_url,
        lambda tx: moved.append(assign(tx, worker, one)),
        lambda tx: moved.append(assign(tx, worker, two)),
    )
    assert moved == [{one.id}, set()]
    assert found(ledger, two).state is JobState.PENDING


def test_a_try_that_meets_it_doubles_the_back_off_up_to_five_minutes(
    ledger: Ledger, worker: Worker, database_url: str
) -> None:
    job = meet(ledger, worker)
    for number, most_s in enumerate((10, 20, 40, 80, 160, 300, 300), 2):
        past(database_url)
        job = meet(ledger, worker, job)
        hold = the_hold(ledger)
        assert (hold.met, hold.probe) == (number, None)
        assert 0.8 * most_s <= pause_s(ledger, job) <= most_s
    assert job.failures == 0


def test_one_that_ran_before_the_hold_runs_on_and_neither_moves_nor_ends_it(ledger: Ledger, database_url: str) -> None:
    first, second, third = (join(ledger, name) for name in "abc")
    early, done = running(ledger, second), running(ledger, third)
    meet(ledger, first)
    past(database_url, FAR)
    hold = the_hold(ledger)
    meet(ledger, second, early)
    tell(ledger, third, done, 1, "checkpoint", number=1, state={})
    assert tell(ledger, third, done, 1, "end", end="succeeded") is Applied.ENDED
    assert the_hold(ledger) == hold
    tries = trying(ledger, first, database_url)
    assert the_hold(ledger).probe == tries.id


@pytest.mark.parametrize(
    "report",
    [
        {"kind": "end", "end": "succeeded"},
        {"kind": "end", "end": "failed", "cause": "workflow", "error": "no such frame"},
        {"kind": "end", "end": "failed", "cause": "workflow", "then": "later"},
        {"kind": "checkpoint", "number": 1, "state": {"frame": 1}},
    ],
)
def test_a_try_that_ends_otherwise_or_keeps_a_checkpoint_got_through(
    ledger: Ledger, worker: Worker, database_url: str, report: dict[str, object]
) -> None:
    meet(ledger, worker)
    job = trying(ledger, worker, database_url)
    tell(ledger, worker, job, 1, **report)  # type: ignore[arg-type]
    assert holds.listed(ledger) == []
    rest = submit(ledger), submit(ledger)
    assert assign(ledger, worker, *rest) == {each.id for each in rest}
    assert events.listed(ledger, job=job.id)[0].sentence == f"burn is no longer on hold: job {job.id} got through"


def test_a_try_gets_through_by_running_clearly_longer_than_those_that_met_it(
    ledger: Ledger, worker: Worker, database_url: str
) -> None:
    meet(ledger, worker)
    past(database_url, "longest_s = 100")
    trying(ledger, worker, database_url)
    past(database_url, "started_at = now() - interval '100 s' WHERE end_word IS NULL", "attempts")
    assert holds.outlasted(ledger) == 0
    past(database_url, "started_at = now() - interval '201 s' WHERE end_word IS NULL", "attempts")
    past(database_url, f"health = '{Health.DEGRADED}'", "workers")
    assert holds.outlasted(ledger) == 0  # its worker may be dead already
    past(database_url, f"health = '{Health.HEALTHY}'", "workers")
    assert holds.outlasted(ledger) == 1
    assert holds.listed(ledger) == []


@pytest.mark.parametrize(("longest_s", "not_yet_s", "long_enough_s"), [(0.1, 0, 11), (36_000, 200, 301)])
def test_how_long_is_bounded_both_ways(
    ledger: Ledger, worker: Worker, database_url: str, longest_s: float, not_yet_s: int, long_enough_s: int
) -> None:
    meet(ledger, worker)
    past(database_url, f"longest_s = {longest_s}")
    trying(ledger, worker, database_url)
    for seconds, ended in ((not_yet_s, 0), (long_enough_s, 1)):
        past(database_url, f"started_at = now() - interval '{seconds} s' WHERE end_word IS NULL", "attempts")
        assert holds.outlasted(ledger) == ended


@pytest.mark.parametrize("how", ["cancelled", "taken back", "taken away", "stopped"])
def test_a_try_that_is_cancelled_or_loses_its_worker_passes_to_another_job_at_once(
    ledger: Ledger, worker: Worker, database_url: str, how: str
) -> None:
    meet(ledger, worker)
    past(database_url)
    job = submit(ledger)
    assert assign(ledger, worker, job) == {job.id}
    if how != "taken back":
        tell(ledger, worker, job, 1, "claim", nonce="n")
    ways: dict[str, Callable[[], object]] = {
        "cancelled": lambda: jobs.cancel(ledger, job.id),
        "taken back": lambda: open_attempts.take_back(ledger, job.id, 1, "silent"),
        "taken away": lambda: open_attempts.take_away(ledger, job.id, 1, "silent"),
        "stopped": lambda: tell(ledger, worker, job, 1, "end", end="stopped", cause="good-bye"),
    }
    ways[how]()
    assert the_hold(ledger).may_try
    other = submit(ledger)
    assert assign(ledger, worker, other) == {other.id}
    assert the_hold(ledger).probe == other.id


def test_a_person_lifts_a_hold_once_and_by_name(ledger: Ledger, worker: Worker) -> None:
    meet(ledger, worker)
    assert not holds.lift(ledger, "render", "ana")
    assert holds.lift(ledger, "burn", "ana")
    assert not holds.lift(ledger, "burn", "ana")
    job = submit(ledger)
    assert assign(ledger, worker, job) == {job.id}
    event = events.listed(ledger)[0]
    assert (event.kind, event.actor, event.sentence) == ("workflow.released", "ana", "ana lifted the hold of burn")


def test_what_was_assigned_before_the_hold_and_has_not_started_is_named(ledger: Ledger, database_url: str) -> None:
    first, second = join(ledger, "a"), join(ledger, "b")
    behind = submit(ledger)
    assign(ledger, second, behind)
    meet(ledger, first)
    assert holds.overtaken(ledger) == {(behind.id, 1)}
    open_attempts.take_back(ledger, behind.id, 1, "its workflow is on hold")
    past(database_url)
    assert assign(ledger, second, found(ledger, behind)) == {behind.id}
    assert holds.overtaken(ledger) == set()  # it tries
    assert job_status(found(ledger, behind)) is JobStatus.STARTING


def test_a_hold_that_reaches_into_another_day_names_both_days(ledger: Ledger) -> None:
    since = datetime(2026, 3, 1, 23, 59, tzinfo=timezone.utc)
    hold = Hold("burn", LINE, since, since + timedelta(minutes=5), 7, None, False)
    began = f"burn is on hold since 2026-03-01 23:59 UTC: {LINE}"
    assert hold.words == f"{began}; one job tries again at 2026-03-02 00:04 UTC"
