"""A worker's history over HTTP: the jobs it was given, and the changes of its health."""

from __future__ import annotations

from datetime import datetime

from flask import Response, abort
from pydantic import BaseModel, Field

from app.ledger import attempts
from app.ledger.registry import workers
from app.pool.model import Health, JobState, WorkerId
from app.pool.parameters import whole
from app.web.api.job_answers import AttemptAnswer, attempt_answer
from app.web.http import blueprints
from app.web.http.responses import answer, cursor_of, place_of
from app.web.http.schemas import LISTED, LISTED_MOST, Query, WorkerPath
from app.web.http.services import services

blueprint = blueprints.group("history", reads=("admin", "read"))


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


class HistoryQuery(Query):
    """Which page."""

    cursor: str | None = Field(default=None, max_length=200, description="`next` of the page before")
    limit: int = Field(default=LISTED, ge=1, le=LISTED_MOST)


@blueprint.get("/admin/workers/<id:worker>/jobs", responses={200: WorkerJobList})
def given(path: WorkerPath, query: HistoryQuery) -> Response:
    """List the jobs that a worker was given, newest first."""
    return answer(jobs_given(_known(path), query))


@blueprint.get("/admin/workers/<id:worker>/transitions", responses={200: TransitionList})
def changes(path: WorkerPath, query: HistoryQuery) -> Response:
    """List the changes of a worker's health, newest first."""
    return answer(transitions(_known(path), query))


def jobs_given(worker: WorkerId, query: HistoryQuery) -> WorkerJobList:
    """A page of the jobs that this worker was given."""
    found = attempts.of_worker(services().ledger, worker, place_of(query.cursor), query.limit + 1)
    page = found[: query.limit]
    items = [
        WorkerJobAnswer(
            job=each.attempt.job,
            name=each.job_name,
            workflow=each.workflow,
            owner=each.owner,
            state=each.job_state,
            attempt=attempt_answer(each.attempt),
        )
        for each in page
    ]
    last = page[-1].attempt if len(found) > query.limit else None
    return WorkerJobList(items=items, next=cursor_of(last.assigned_at, last.job) if last else None)


def transitions(worker: WorkerId, query: HistoryQuery) -> TransitionList:
    """A page of the changes of this worker's health."""
    place = place_of(query.cursor)
    before = whole(place[1]) if place else None
    found = workers.transitions(services().ledger, worker, before, query.limit + 1)
    page = found[: query.limit]
    items = [TransitionAnswer(**{name: getattr(each, name) for name in TransitionAnswer.model_fields}) for each in page]
    more = cursor_of(page[-1].at, str(page[-1].id)) if len(found) > query.limit else None
    return TransitionList(items=items, next=more)


def _known(path: WorkerPath) -> WorkerId:
    worker = workers.find(services().ledger, WorkerId(path.worker))
    if worker is None:
        abort(404, "there is no such worker")
    return worker.id
