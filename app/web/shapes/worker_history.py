"""A worker's history: the jobs that it was given, and the changes of its health, page by page."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from app.ledger import attempts
from app.ledger.registry import workers
from app.pool.model import Health, JobState, WorkerId
from app.pool.parameters import whole
from app.web.http.responses import cursor_of, first_page, place_of
from app.web.http.schemas import PageQuery
from app.web.http.services import services
from app.web.shapes.job_answers import AttemptAnswer, attempt_answer


class WorkerJobAnswer(BaseModel):
    """A job that the worker was given, and the attempt that it made."""

    job: str
    name: str
    workflow: str
    owner: str
    state: JobState
    attempt: AttemptAnswer


class WorkerJobList(BaseModel):
    """A page of them, newest first."""

    items: list[WorkerJobAnswer]
    next: str | None


class TransitionAnswer(BaseModel):
    """A change of health; `from` is null where the worker joined for the first time."""

    from_health: Health | None = Field(serialization_alias="from")
    to_health: Health = Field(serialization_alias="to")
    cause: str
    incarnation: int
    at: datetime


class TransitionList(BaseModel):
    """A page of them, newest first."""

    items: list[TransitionAnswer]
    next: str | None


def jobs_given(worker: WorkerId, query: PageQuery) -> WorkerJobList:
    """A page of the jobs that this worker was given."""
    rows = attempts.of_worker(services().ledger, worker, place_of(query.cursor), query.limit + 1)
    page, more = first_page(rows, query.limit, lambda last: cursor_of(last.attempt.assigned_at, last.attempt.job))
    items = [
        WorkerJobAnswer(
            job=given.attempt.job,
            name=given.job_name,
            workflow=given.workflow,
            owner=given.owner,
            state=given.job_state,
            attempt=attempt_answer(given.attempt),
        )
        for given in page
    ]
    return WorkerJobList(items=items, next=more)


def transitions(worker: WorkerId, query: PageQuery) -> TransitionList:
    """A page of the changes of this worker's health."""
    place = place_of(query.cursor)
    before = whole(place[1]) if place else None
    rows = workers.transitions(services().ledger, worker, before, query.limit + 1)
    page, more = first_page(rows, query.limit, lambda last: cursor_of(last.at, str(last.id)))
    items = [TransitionAnswer(**{name: getattr(each, name) for name in TransitionAnswer.model_fields}) for each in page]
    return TransitionList(items=items, next=more)
