"""The words of statuses, counts and lists."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from app.pool import status
from app.pool.model import Health, Job, JobId, JobSpec, JobState, Requirement

NOON = datetime(2030, 1, 31, 12, tzinfo=timezone.utc)
JOB = Job(
    JobId("j" * 12),
    JobSpec(Requirement("burn")),
    JobState.PENDING,
    attempt=1,
    failures=0,
    worker=None,
    incarnation=None,
    progress=0.0,
    text="",
    created_at=NOON,
)


def test_counts_and_lists_agree_with_their_numbers() -> None:
    assert [status.counted(number, "job", "is") for number in (0, 1, 2)] == ["0 jobs are", "1 job is", "2 jobs are"]
    assert status.counted(1, "step") == "1 step"
    assert status.listed(["a", "b"], 2) == "a, b"
    assert status.listed(["a", "b", "c", "d"], 2, "; ") == "a; b and 2 more"
    assert (status.capitalised("its GPU"), status.capitalised("")) == ("Its GPU", "")


def test_a_pause_is_said_to_the_minute_or_without_an_end() -> None:
    end = datetime(2030, 1, 31, 18, 5, 59, tzinfo=timezone.utc)
    assert status.until_words(end) == "until 2030-01-31 18:05 UTC"
    assert (status.until_words(None), status.until_words(None, "")) == ("until somebody resumes it", "")


def test_every_state_and_health_is_a_status() -> None:
    assert [status.job_status(replace(JOB, state=state)) for state in JobState] == [
        *("waiting", "starting", "running", "succeeded", "failed", "cancelled"),
    ]
    assert {health for health in Health if status.WorkerStatus(health).is_gone} == {Health.DOWN, Health.LEFT}


def test_a_job_that_ran_is_moving_while_it_waits_and_a_cancelled_one_cancelling_while_it_runs() -> None:
    moved = replace(JOB, started_at=NOON)
    assert {status.job_status(replace(moved, state=state)) for state in (JobState.PENDING, JobState.ASSIGNED)} == {
        status.JobStatus.MOVING
    }
    cancelled = replace(moved, state=JobState.CANCELLED, attempt_ended=False)
    assert status.job_status(cancelled) is status.JobStatus.CANCELLING
