"""Jobs and attempts as the API shows them; a field is null where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.pool.model import Attempt, AttemptEnd, Job, JobState, Then, WaitingFor
from app.pool.status import FREE_SLOT, JobStatus, job_status
from app.web.shapes.job_fields import SpecAnswer, facts_of

AttemptState = Literal["assigned", "running", "ended"]
OF_THE_JOB = (
    *("id", "state", "progress", "text", "attempt", "failures", "worker"),
    *("error", "not_before", "created_at", "started_at", "ended_at"),
)


class WaitingAnswer(BaseModel):
    """What a pending job waits for, and why in words."""

    kind: Literal["slot", "time", "worker", "hold"] = Field(serialization_alias="for")
    until: datetime | None
    why: str


class JobAnswer(SpecAnswer):
    """A job."""

    id: str
    state: JobState
    status: JobStatus
    waiting: WaitingAnswer | None
    progress: float
    text: str
    attempt: int
    failures: int
    worker: str | None
    result: Any
    warnings: list[str] = Field(
        description="what people should look at: of a submission, in its answer alone, what is likely a mistake;"
        " of a success outputs that are empty, or that others had"
    )
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class JobList(BaseModel):
    """A page of jobs, newest first."""

    items: list[JobAnswer]
    next: str | None


class JobBatch(BaseModel):
    """The jobs of one submission, in its order."""

    items: list[JobAnswer]


class ResumedFrom(BaseModel):
    """The checkpoint that an attempt began from."""

    attempt: int
    number: int
    at: datetime
    fraction: float
    step: Any = None  # where the workflow's state has one


class AttemptAnswer(BaseModel):
    """One try of a job on one worker."""

    number: int
    worker: str
    worker_name: str
    incarnation: int
    state: AttemptState
    assigned_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    end: AttemptEnd | None
    cause: str | None
    then: Then | None  # what a rule of its workflow said of its failure
    error: str | None
    signal: int | None
    exit_code: int | None
    resumed_from: ResumedFrom | None
    lost_s: float | None
    lost_steps: int | None
    refused: int


class AttemptList(BaseModel):
    """A job's attempts, the first first."""

    items: list[AttemptAnswer]
    next: None = None


def job_answer(job: Job, result: Any, warnings: Sequence[str] = ()) -> JobAnswer:
    """The job as people see it, with its accepted result."""
    facts = {**facts_of(job.spec), **{name: getattr(job, name) for name in OF_THE_JOB}}
    return JobAnswer(
        **facts, status=job_status(job), waiting=waiting_answer(job), result=result, warnings=list(warnings)
    )


def attempt_answer(attempt: Attempt) -> AttemptAnswer:
    """An attempt as people see it."""
    facts = {name: getattr(attempt, name) for name in AttemptAnswer.model_fields if name != "state"}
    return AttemptAnswer(state=_state(attempt), **facts)


def ahead(job: Job) -> datetime | None:
    """The time before which the job may not start; None when it has come, or there is none."""
    return job.not_before if job.not_before and job.not_before > datetime.now(timezone.utc) else None


def _state(attempt: Attempt) -> AttemptState:
    if attempt.end:
        return "ended"
    return "running" if attempt.started_at else "assigned"


def waiting_answer(job: Job) -> WaitingAnswer | None:
    """What a pending job waits for; None for any other."""
    if job.state is not JobState.PENDING:
        return None
    later = ahead(job)
    if later and (job.failures or job.waiting_for is WaitingFor.TIME):
        again = f"to be tried again after failure {job.failures} of {job.spec.max_failures}"
        return WaitingAnswer(kind="time", until=job.not_before, why=job.waiting or again)
    if job.waiting and job.waiting_for is WaitingFor.HOLD:
        return WaitingAnswer(kind="hold", until=None, why=job.waiting)
    if job.waiting and job.waiting_for is not WaitingFor.SLOT:
        return WaitingAnswer(kind="worker", until=job.not_before, why=job.waiting)
    if later and not job.waiting:
        return WaitingAnswer(kind="time", until=job.not_before, why="waits for its time")
    return WaitingAnswer(kind="slot", until=None, why=job.waiting or FREE_SLOT)
