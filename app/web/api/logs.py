"""The log of an attempt: pages of lines as JSON, or the whole as plain text."""

from __future__ import annotations

from flask import Response, request

from app.actions import jobs
from app.ledger import logs as stored
from app.ledger.logs import LogLine
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer
from app.web.http.schemas import JobPath, LogQuery
from app.web.http.services import services
from app.web.shapes import logs
from app.web.shapes.job_answers import LineList, line_answer

blueprint = blueprints.group("logs", reads=PEOPLE)


@blueprint.get("/jobs/<id:job>/log", responses={200: LineList})
def read(path: JobPath, query: LogQuery) -> Response:
    """Read an attempt's log: lines after a number, or, for `Accept: text/plain`, all of it."""
    ledger = services().ledger
    job = jobs.find(ledger, caller(), path.job)
    attempt = query.attempt or job.attempt
    if request.accept_mimetypes.best_match(["application/json", "text/plain"]) == "text/plain":
        return logs.whole(ledger, job.id, attempt, query.after)
    part = stored.read(ledger, job.id, attempt, query.after, query.limit)
    lines = [entry for entry in part.entries if isinstance(entry, LogLine)]
    more = str(lines[-1].number) if part.more and lines else None
    return answer(LineList(items=[line_answer(line) for line in lines], next=more))
