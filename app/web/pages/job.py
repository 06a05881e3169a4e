"""A job's page: what it is and does, its story, its outputs; cancel and retry. Its log: log/."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.actions import jobs
from app.ledger import policy
from app.pool.about import described_fields
from app.pool.model import TIME_LIMITS, Job, JobSpec
from app.web.http import htmx
from app.web.http.auth import WRITERS, caller
from app.web.http.services import services
from app.web.pages.base import page
from app.web.pages.job_views import JobView, job_view
from app.web.pages.log.request import attempt_of
from app.web.pages.log.views import panel
from app.web.shapes import outputs
from app.web.shapes.why import explain

blueprint = Blueprint("job_page", __name__)


@page()
def shown(job: str) -> ResponseReturnValue:
    """The job's page."""
    found = _job(job)
    pool = policy.read(services().ledger)
    return render_template(
        "jobs/job.html",
        job=found,
        view=_view(found),
        log=panel(found, request.args),
        limits=_limits(found.spec),
        why=explain(found) if "why" in request.args else None,
        strict=found.spec.strict or pool.strict,
        orphan_s=found.spec.max_orphan_s or pool.max_orphan_s,
    )


@blueprint.get("/ui/jobs/<id:job>")
@page()
def fragment(job: str) -> ResponseReturnValue:
    """The part of a job's page that changes."""
    return htmx.fragment("jobs/_job.html", _view(_job(job)))


@blueprint.get("/ui/jobs/<id:job>/why")
@page()
def why(job: str) -> ResponseReturnValue:
    """Why the job waits, or went where it did; loaded by a click, because it looks at every worker."""
    return htmx.fragment("jobs/_why.html", explain(_job(job)))


@blueprint.get("/ui/jobs/<id:job>/outputs/<path:name>")
@page()
def output(job: str, name: str) -> ResponseReturnValue:
    """One of the job's outputs, as the API gives it."""
    return outputs.send(_job(job), name)


@blueprint.post("/ui/jobs/<id:job>/cancel")
@page(*WRITERS)
def cancel(job: str) -> ResponseReturnValue:
    """Cancel the job."""
    jobs.cancel(services(), caller(), job)
    return redirect(f"/jobs/{job}", 303)


@blueprint.post("/ui/jobs/<id:job>/retry")
@page(*WRITERS)
def retry(job: str) -> ResponseReturnValue:
    """Submit the job again as it was, and go to the new job."""
    return redirect(f"/jobs/{jobs.retry(services(), caller(), job).id}", 303)


def _job(job: str) -> Job:
    return jobs.find(services().ledger, caller(), job)


def _limits(spec: JobSpec) -> list[tuple[str, int]]:
    """The job's own time limits by label, in seconds."""
    labels = {name: about.label.capitalize() for name, about in described_fields(JobSpec).items()}
    return [(labels[name], seconds) for name in TIME_LIMITS if (seconds := getattr(spec, name))]


def _view(job: Job) -> JobView:
    return job_view(services().ledger, job, caller(), attempt_of(request.args))
