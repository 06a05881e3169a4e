"""The log of an attempt: pages of lines as JSON, or the whole as plain text."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, request

from app.ledger import attempts, jobs
from app.ledger.db import Ledger
from app.pool.model import JobId
from app.web.api.job_answers import LineList, line_answer
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, visible
from app.web.http.responses import answer
from app.web.http.schemas import JobPath, LogQuery
from app.web.http.services import services

CHUNK_LINES = 1000

blueprint = blueprints.group("logs", reads=PEOPLE)


@blueprint.get("/jobs/<id:job>/log", responses={200: LineList})
def read(path: JobPath, query: LogQuery) -> Response:
    """Read an attempt's log: lines after a number, or, for `Accept: text/plain`, all of it."""
    ledger = services().ledger
    job = visible(jobs.find(ledger, JobId(path.job)))
    attempt = query.attempt or job.attempt
    if request.accept_mimetypes.best_match(["application/json", "text/plain"]) == "text/plain":
        return whole(ledger, job.id, attempt, query.after)
    lines = attempts.log_lines(ledger, job.id, attempt, query.after, query.limit)
    more = str(lines[-1].number) if len(lines) == query.limit else None
    return answer(LineList(items=[line_answer(line) for line in lines], next=more))


def whole(ledger: Ledger, job: JobId, attempt: int, after: int = 0) -> Response:
    """All lines of an attempt's log as plain text."""
    return Response(_texts(ledger, job, attempt, after), mimetype="text/plain", headers=_file_name(job, attempt))


def _texts(ledger: Ledger, job: JobId, attempt: int, after: int) -> Iterator[str]:
    while lines := attempts.log_lines(ledger, job, attempt, after, CHUNK_LINES):
        yield "".join(f"{line.line}\n" for line in lines)
        after = lines[-1].number


def _file_name(job: JobId, attempt: int) -> dict[str, str]:
    return {"Content-Disposition": f'inline; filename="{job}-a{attempt}.log"'}
