"""The page of jobs: running ones first, then all others by age; filtered by state and workflow in the URL."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app.ledger import holds, jobs
from app.ledger.holds import Hold
from app.ledger.registry import fleet, workflows
from app.pool.model import Job, JobState
from app.web.http import htmx
from app.web.http.auth import caller
from app.web.http.responses import cursor_of, first_page, place_of
from app.web.http.services import services
from app.web.pages.base import page
from app.web.pages.job_views import JobRow, job_row

blueprint = Blueprint("job_list", __name__)
PAGE_ROWS = 50
LIVE_MOST = 200
NOT_RUNNING = tuple(state for state in JobState if state is not JobState.RUNNING)


@dataclass(frozen=True)
class JobsView:
    """A page of jobs."""

    rows: tuple[JobRow, ...]
    query: str
    next: str | None
    first: str | None  # the first page, from a later one
    filtered: bool
    hosts: bool
    holds: tuple[Hold, ...]


@page()
def listed() -> ResponseReturnValue:
    """The page of jobs."""
    offered = sorted({offer.workflow.name for offer in workflows.declared(services().ledger)})
    asked = {"state": request.args.get("state", ""), "workflow": request.args.get("workflow", "")}
    return render_template("jobs/list.html", view=_jobs(), states=JobState, workflows=offered, asked=asked)


@blueprint.get("/ui/jobs")
@page()
def fragment() -> ResponseReturnValue:
    """The part of the list that changes."""
    return htmx.fragment("jobs/_list.html", _jobs())


def _jobs() -> JobsView:
    state, workflow, cursor = (request.args.get(name) or None for name in ("state", "workflow", "cursor"))
    asked = {"state": state, "workflow": workflow}
    filters = {name: word for name, word in asked.items() if word}
    running = _found(JobState.RUNNING, workflow=workflow, limit=LIVE_MOST) if not state and not cursor else []
    states = (JobState(state),) if state in set(map(str, JobState)) else NOT_RUNNING
    rows = _found(*states, workflow=workflow, limit=PAGE_ROWS + 1, cursor=cursor)
    page_rows, more = first_page(rows, PAGE_ROWS, lambda last: cursor_of(last.created_at, last.id))
    shown = [*running, *page_rows]
    names = fleet.names(services().ledger, [job.worker for job in shown]) if caller().sees_all else {}
    return JobsView(
        rows=tuple(job_row(job, names, caller().sees_all) for job in shown),
        query=_query({**filters, **({"cursor": cursor} if cursor else {})}),
        next=f"/jobs{_query({**filters, 'cursor': more})}" if more else None,
        first=f"/jobs{_query(filters)}" if cursor else None,
        filtered=bool(filters),
        hosts=caller().sees_all,
        holds=tuple(holds.listed(services().ledger)),
    )


def _found(*states: JobState, workflow: str | None, limit: int, cursor: str | None = None) -> list[Job]:
    return jobs.listed(
        services().ledger,
        owner=None if caller().sees_all else caller().name,
        states=states,
        workflow=workflow,
        before=place_of(cursor),
        limit=limit,
    )


def _query(words: dict[str, str]) -> str:
    return f"?{urlencode(words)}" if words else ""
