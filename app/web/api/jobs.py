"""Jobs over HTTP: submit, list, look at, cancel, retry, and their attempts."""

from __future__ import annotations

from flask import Response

from app.actions import jobs
from app.ledger import attempts
from app.ledger import jobs as ledger_jobs
from app.pool.model import Job, JobState
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, WRITERS, caller
from app.web.http.responses import answer, cursor_of, first_page, place_of
from app.web.http.schemas import IdempotencyHeader, JobPath, JobsQuery, SubmitQuery
from app.web.http.services import services
from app.web.shapes import submission
from app.web.shapes.job_answers import AttemptList, JobAnswer, JobList, attempt_answer, job_answer
from app.web.shapes.job_bodies import JobBody

blueprint = blueprints.group("jobs", reads=PEOPLE, writes=WRITERS)


@blueprint.post("/jobs", responses={201: JobAnswer})
def submit(header: IdempotencyHeader, query: SubmitQuery, body: JobBody) -> Response:
    """Submit a job; when this is answered, the job is kept and will run. `warnings` say what is likely a mistake."""
    return submission.submit(header.idempotency_key, body, query.allow_unknown_workflow).response()


@blueprint.get("/jobs", responses={200: JobList})
def listed(query: JobsQuery) -> Response:
    """List jobs, newest first; a creator's own."""
    ledger = services().ledger
    rows = ledger_jobs.listed(
        ledger,
        owner=query.owner if caller().sees_all else caller().name,
        states=query.state,
        workflow=query.workflow,
        before=place_of(query.cursor),
        limit=query.limit + 1,  # one more tells whether there is a next page
    )
    page, more = first_page(rows, query.limit, lambda last: cursor_of(last.created_at, last.id))
    results = ledger_jobs.results(ledger, [job.id for job in page if job.state is JobState.SUCCEEDED])
    return answer(JobList(items=[job_answer(job, *results.get(job.id, (None,))) for job in page], next=more))


@blueprint.get("/jobs/<id:job>", responses={200: JobAnswer})
def find(path: JobPath) -> Response:
    """Look at a job."""
    return answer(_shown(jobs.find(services().ledger, caller(), path.job)))


@blueprint.delete("/jobs/<id:job>", responses={200: JobAnswer})
def cancel(path: JobPath) -> Response:
    """Cancel a job that has not ended; what runs is told to stop. Cancelling twice changes nothing."""
    return answer(_shown(jobs.cancel(services(), caller(), path.job)))


@blueprint.post("/jobs/<id:job>/retry", responses={201: JobAnswer})
def retry(path: JobPath) -> Response:
    """Submit an ended job again: a new job that names the old one."""
    return answer(job_answer(jobs.retry(services(), caller(), path.job), None), 201)


@blueprint.get("/jobs/<id:job>/attempts", responses={200: AttemptList})
def tried(path: JobPath) -> Response:
    """List a job's attempts, the first first."""
    job = jobs.find(services().ledger, caller(), path.job)
    rows = attempts.of_job(services().ledger, job.id)
    return answer(AttemptList(items=[attempt_answer(attempt) for attempt in rows]))


def _shown(job: Job) -> JobAnswer:
    accepted = ledger_jobs.result(services().ledger, job.id) if job.state is JobState.SUCCEEDED else None
    return job_answer(job, accepted.result, accepted.warnings) if accepted else job_answer(job, None)
