"""A job's page: what it is and does, its story, its log, its outputs; cancel and retry."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.ledger import jobs, policy
from app.pool.model import Job, JobId
from app.web.api import jobs as api
from app.web.api import logs, outputs
from app.web.api.why import explain
from app.web.http import htmx
from app.web.http.auth import caller, visible
from app.web.http.schemas import ID_PATTERN, JobPath, OutputPath
from app.web.http.services import services
from app.web.pages.base import WRITERS, page, shared
from app.web.pages.job_views import JobView, job_view

blueprint = Blueprint("job_page", __name__)


@shared(rf"/jobs/(?P<job>{ID_PATTERN})")
@page()
def shown(job: str) -> ResponseReturnValue:
    """The job's page."""
    found = _job(job)
    pool = policy.read(services().ledger)
    return render_template(
        "jobs/job.html",
        job=found,
        view=_view(found),
        why=explain(found) if "why" in request.args else None,
        strict=found.spec.strict or pool.strict,
        orphan_s=found.spec.max_orphan_s or pool.max_orphan_s,
    )


@blueprint.get("/ui/jobs/<id:job>")
@page()
def fragment(job: str) -> ResponseReturnValue:
    """The part of it that changes."""
    return htmx.fragment("jobs/_job.html", _view(_job(job)))


@blueprint.get("/ui/jobs/<id:job>/why")
@page()
def why(job: str) -> ResponseReturnValue:
    """Why it waits, or went where it did: asked for by a click, for it looks at every worker."""
    return htmx.fragment("jobs/_why.html", explain(_job(job)))


@blueprint.get("/ui/jobs/<id:job>/log")
@page()
def log(job: str) -> ResponseReturnValue:
    """All of an attempt's log as text."""
    found = _job(job)
    return logs.whole(services().ledger, found.id, _attempt() or found.attempt)


@blueprint.get("/ui/jobs/<id:job>/outputs/<path:name>")
@page()
def output(job: str, name: str) -> ResponseReturnValue:
    """One output, as the API gives it."""
    return cast(Response, outputs.fetch(OutputPath(job=job, name=name)))


@blueprint.post("/ui/jobs/<id:job>/cancel")
@page(*WRITERS)
def cancel(job: str) -> ResponseReturnValue:
    """Cancel it."""
    api.cancel(JobPath(job=job))
    return redirect(f"/jobs/{job}", 303)


@blueprint.post("/ui/jobs/<id:job>/retry")
@page(*WRITERS)
def retry(job: str) -> ResponseReturnValue:
    """Submit it again as it was."""
    again = api.retry(JobPath(job=job)).get_json()
    return redirect(f"/jobs/{again['id']}", 303)


def _job(job: str) -> Job:
    return visible(jobs.find(services().ledger, JobId(job)))


def _view(job: Job) -> JobView:
    return job_view(services().ledger, job, caller(), _attempt())


def _attempt() -> int | None:
    return request.args.get("attempt", None, type=int)
