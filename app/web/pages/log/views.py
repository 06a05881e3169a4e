"""The log on a job's page: its end as it grows, any other part, a search through all of it, and the whole as text.

Every answer is bounded, and only what is new is sent: the browser keeps what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from app.actions import jobs
from app.pool.model import Job
from app.web.http import htmx
from app.web.http.auth import caller
from app.web.http.services import services
from app.web.pages.base import page
from app.web.pages.log import hits as log_hits
from app.web.pages.log.chunks import LogParts
from app.web.pages.log.hits import Hits
from app.web.pages.log.request import LogRequest, log_request
from app.web.shapes import logs

blueprint = Blueprint("log_page", __name__)


@dataclass(frozen=True)
class LogPanel:
    """The log's part of the page."""

    job: str
    key: str
    newest: bool
    tried: tuple[int, ...]
    parts: LogParts
    follows: bool  # its end is shown
    search: str
    hits: Hits | None


def panel(job: Job, query: Mapping[str, str]) -> LogPanel:
    """The log's part of the page, at the place that this query names. Raises BadRequest."""
    asked = log_request(services().ledger, job, query)
    search = query.get("search", "").strip()
    return LogPanel(
        job=job.id,
        key=asked.key,
        newest=asked.newest,
        tried=asked.tried,
        parts=asked.parts(),
        follows=not asked.place,
        search=search,
        hits=log_hits.look(asked, query) if search else None,
    )


@blueprint.get("/ui/jobs/<id:job>/log-lines")
@page()
def lines(job: str) -> ResponseReturnValue:
    """A part of the log: `after` a place (204 while nothing is new), `before` one, around a `line`, or its end."""
    found = _job(job)
    asked = log_request(services().ledger, found, request.args)
    if "after" in asked.place:
        return _more(found, asked)
    template = "jobs/_log_chunk.html" if "before" in asked.place else "jobs/_log_box.html"
    return _lines(template, found, asked, asked.parts())


@blueprint.get("/ui/jobs/<id:job>/log-search")
@page()
def search(job: str) -> ResponseReturnValue:
    """Lines that hold the words, of one look through the log; the next look goes on `from` where it ended."""
    found = _job(job)
    asked = log_request(services().ledger, found, request.args)
    hits = log_hits.look(asked, request.args)
    template = "jobs/_log_hits_more.html" if request.args.get("from") else "jobs/_log_hits.html"
    return render_template(template, job=found.id, hits=hits)


@blueprint.get("/ui/jobs/<id:job>/log")
@page()
def whole(job: str) -> ResponseReturnValue:
    """The whole log of an attempt, or of all, as text."""
    asked = log_request(services().ledger, _job(job), request.args)
    return logs.as_text(asked.span, asked.span.beginning, timestamps=request.args.get("timestamps") == "1")


def _more(job: Job, asked: LogRequest) -> ResponseReturnValue:
    parts = asked.parts()
    if request.args.get("follow") == "1":
        if parts.state == "later":
            # A reader who looks at the end has fallen behind: they see the end, not all that was before.
            return htmx.into("#log-box", _lines("jobs/_log_box.html", job, asked, asked.end()))
        if asked.newest and asked.newer and not parts.chunk.rows:
            return htmx.into("#log", render_template("jobs/_log.html", log=panel(job, {})), "outerHTML")
    if parts.chunk.later == asked.place["after"] and parts.state == "live":
        return Response(status=204)
    return _lines("jobs/_log_more.html", job, asked, parts)


def _lines(template: str, job: Job, asked: LogRequest, parts: LogParts) -> str:
    return render_template(template, job=job.id, newest=asked.newest, parts=parts)


def _job(job: str) -> Job:
    return jobs.find(services().ledger, caller(), job)
