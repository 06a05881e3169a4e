"""The log of an attempt, or of all: parts of it as JSON, or the whole as plain text."""

from __future__ import annotations

from flask import Response, request

from app.actions import jobs
from app.ledger import attempts
from app.pool.log.words import ALL
from app.pool.model import ENDED, Job
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer
from app.web.http.schemas import JobPath, LogQuery
from app.web.http.services import services
from app.web.shapes import logs
from app.web.shapes.log_answers import LogAnswer, entry_answer
from app.web.shapes.log_span import Entry, LogPlace, LogSpan, place_after, place_of, written

blueprint = blueprints.group("logs", reads=PEOPLE)


@blueprint.get("/jobs/<id:job>/log", responses={200: LogAnswer})
def read(path: JobPath, query: LogQuery) -> Response:
    """Read a log: a part of it, what a search finds in it, or, for `Accept: text/plain`, all of it."""
    job = jobs.find(services().ledger, caller(), path.job)
    span = _span(job, query)
    place = place_of(query.after, span.attempts[0])
    if request.accept_mimetypes.best_match(["application/json", logs.TEXT]) == logs.TEXT:
        return logs.as_text(span, place, query.timestamps, query.colours)
    if query.search is not None:
        found, onward = span.search(query.search, place, query.limit)
        return _answer(span, found.lines, onward if found.more else None, not found.more)
    # Asked before the lines are read: who stops at `closed` has all of them. Of all attempts the last may be to come.
    closed = span.is_closed() and (query.attempt != ALL or job.state in ENDED)
    if query.tail is not None:
        return _answer(span, span.before(None, query.tail).entries[-query.tail :] if query.tail else (), None, closed)
    part = span.after(place, query.limit)
    beyond = place_after(part.entries[-1]) if part.more else None
    return _answer(span, part.entries, beyond, closed and not part.more)


def _span(job: Job, query: LogQuery) -> LogSpan:
    ledger = services().ledger
    if isinstance(query.attempt, str):
        numbers = tuple(tried.number for tried in attempts.of_job(ledger, job.id)) or (1,)
        return LogSpan(ledger, job.id, numbers)
    return LogSpan(ledger, job.id, (query.attempt or job.attempt,))


def _answer(span: LogSpan, entries: tuple[Entry, ...], onward: LogPlace | None, closed: bool) -> Response:
    several = len(span.attempts) > 1
    following = onward and (written(onward) if several else str(onward[1]))
    return answer(LogAnswer(items=[entry_answer(entry) for entry in entries], next=following, closed=closed))
