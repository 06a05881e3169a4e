"""A job's checkpoints over HTTP: from which an attempt went on, or could."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from app.actions import jobs
from app.ledger import attempts
from app.pool.model import Checkpoint
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer, first_page, foreign_cursor
from app.web.http.schemas import JobPath, PageQuery
from app.web.http.services import services

blueprint = blueprints.group("checkpoints", reads=PEOPLE)

NUMBER_MOST = 2**31 - 1


class CheckpointFile(BaseModel):
    """A file of a checkpoint."""

    name: str
    size: int
    sha256: str


class CheckpointAnswer(BaseModel):
    """A saved state; `kept` is whether its files are still there."""

    number: int
    attempt: int
    at: datetime
    fraction: float
    state: Any
    files: list[CheckpointFile]
    kept: bool


class CheckpointList(BaseModel):
    """A page of them, newest first."""

    items: list[CheckpointAnswer]
    next: str | None


class CheckpointsQuery(PageQuery):
    """Which page; its cursor is shorter than others."""

    cursor: str | None = Field(None, max_length=40, description="`next` of the page before")


@blueprint.get("/jobs/<id:job>/checkpoints", responses={200: CheckpointList})
def listed(path: JobPath, query: CheckpointsQuery) -> Response:
    """List a job's checkpoints, newest first."""
    ledger = services().ledger
    job = jobs.find(ledger, caller(), path.job)
    rows = attempts.checkpoints(ledger, job.id, _place(query.cursor), query.limit + 1)
    page, more = first_page(rows, query.limit, lambda last: f"{last.attempt}-{last.number}")
    return answer(CheckpointList(items=[_answer(checkpoint) for checkpoint in page], next=more))


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    attempt, _, number = cursor.partition("-")
    if not (attempt.isdecimal() and number.isdecimal() and int(attempt) <= NUMBER_MOST and int(number) < 2**63):
        raise foreign_cursor()
    return int(attempt), int(number)


def _answer(checkpoint: Checkpoint) -> CheckpointAnswer:
    return CheckpointAnswer(
        number=checkpoint.number,
        attempt=checkpoint.attempt,
        at=checkpoint.at,
        fraction=checkpoint.fraction,
        state=checkpoint.state,
        files=[CheckpointFile(name=file.name, size=file.size, sha256=file.sha256) for file in checkpoint.files],
        kept=checkpoint.kept,
    )
