"""Jobs over HTTP: submit, list, look at, cancel, retry, and their attempts."""

from __future__ import annotations

from dataclasses import replace

from flask import Response, abort

from app.actions import jobs as submission
from app.ledger import attempts, events, jobs
from app.ledger.db import Ledger
from app.pool.model import ENDED, Job, JobId, JobSpec, JobState, WaitingReason
from app.web.api.job_answers import AttemptList, JobAnswer, JobList, attempt_answer, job_answer
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller, visible
from app.web.http.idempotency import once
from app.web.http.responses import answer, cursor_of, place_of
from app.web.http.schemas import IdempotencyHeader, JobBody, JobPath, JobsQuery
from app.web.http.services import services

blueprint = blueprints.group("jobs", reads=PEOPLE, writes=("admin", "creator"))


@blueprint.post("/jobs", responses={201: JobAnswer})
def submit(header: IdempotencyHeader, body: JobBody) -> Response:
    """Submit a job; when this is answered, the job is kept and will run."""

    def work(ledger: Ledger) -> JobAnswer:
        [asked] = submission.check(ledger, services().settings, caller(), {"": body})
        return _submitted(ledger, asked.spec, asked.waiting)

    return once(header.idempotency_key, body, work, lambda: services().ring("jobs"))


@blueprint.get("/jobs", responses={200: JobList})
def listed(query: JobsQuery) -> Response:
    """List jobs, newest first; a creator's own."""
    ledger = services().ledger
    found = jobs.listed(
        ledger,
        owner=query.owner if caller().sees_all else caller().owner,
        states=query.state,
        workflow=query.workflow,
        before=place_of(query.cursor),
        limit=query.limit + 1,  # one more tells whether there is a next page
    )
    page = found[: query.limit]
    results = jobs.results(ledger, [job.id for job in page if job.state is JobState.SUCCEEDED])
    more = cursor_of(page[-1].created_at, page[-1].id) if len(found) > query.limit else None
    return answer(JobList(items=[job_answer(job, results.get(job.id)) for job in page], next=more))


@blueprint.get("/jobs/<id:job>", responses={200: JobAnswer})
def find(path: JobPath) -> Response:
    """Look at a job."""
    return answer(_shown(_job(path)))


@blueprint.delete("/jobs/<id:job>", responses={200: JobAnswer})
def cancel(path: JobPath) -> Response:
    """Cancel a job that has not ended; what runs is told to stop. Cancelling twice changes nothing."""
    job = _job(path)
    with services().ledger.transaction() as tx:
        cancelled = jobs.cancel(tx, job.id)
        if cancelled:
            events.record(tx, "job.cancelled", f"{caller().owner} cancelled it", job=job.id, actor=caller().owner)
    if cancelled is None and _job(path).state is not JobState.CANCELLED:
        abort(409, f"this job has ended already: {_job(path).state}")
    services().ring(f"job {job.id}")
    return answer(_shown(cancelled or job))


@blueprint.post("/jobs/<id:job>/retry", responses={201: JobAnswer})
def retry(path: JobPath) -> Response:
    """Submit an ended job again: a new job that names the old one."""
    old = _job(path)
    if old.state not in ENDED:
        abort(409, f"this job has not ended: {old.state}; only an ended one can be retried")
    with services().ledger.transaction() as tx:
        spec = submission.again(tx, old.spec)
        waiting = submission.waiting_for(tx, spec.requirement.workflow)
        answered = answer(_submitted(tx, replace(spec, retry_of=old.id), waiting), 201)
    services().ring("jobs")
    return answered


@blueprint.get("/jobs/<id:job>/attempts", responses={200: AttemptList})
def tried(path: JobPath) -> Response:
    """List a job's attempts, the first first."""
    found = attempts.of_job(services().ledger, _job(path).id)
    return answer(AttemptList(items=[attempt_answer(attempt) for attempt in found]))


def _job(path: JobPath) -> Job:
    return visible(jobs.find(services().ledger, JobId(path.job)))


def _shown(job: Job) -> JobAnswer:
    accepted = jobs.result(services().ledger, job.id) if job.state is JobState.SUCCEEDED else None
    return job_answer(job, accepted and accepted.result)


def _submitted(ledger: Ledger, spec: JobSpec, waiting: WaitingReason | None) -> JobAnswer:
    return job_answer(jobs.submit(ledger, spec, waiting), None)
