"""Many jobs in one request: all of them are kept, or none."""

from __future__ import annotations

from flask import Response

from app.actions import jobs
from app.ledger.db import Ledger
from app.web.http import blueprints
from app.web.http.auth import WRITERS, caller
from app.web.http.idempotency import once
from app.web.http.schemas import IdempotencyHeader, SubmitQuery
from app.web.http.services import services
from app.web.shapes.job_answers import JobBatch, job_answer
from app.web.shapes.job_bodies import BatchBody, spec_of

BATCH_BYTES = 16 * 1024 * 1024  # 10,000 jobs of 1.6 KiB each

blueprint = blueprints.group("batch", reads=(), writes=WRITERS, most_bytes=BATCH_BYTES)


@blueprint.post("/jobs/batch", responses={201: JobBatch})
def submit(header: IdempotencyHeader, query: SubmitQuery, body: BatchBody) -> Response:
    """Submit many jobs; when this is answered, all are kept and will run. One bad entry, and none is kept."""
    specs = {f"/jobs/{number}": spec_of(job) for number, job in enumerate(body.jobs)}

    def work(tx: Ledger) -> JobBatch:
        made = jobs.submit(tx, services().settings, caller(), specs, query.allow_unknown_workflow)
        return JobBatch(items=[job_answer(each.job, None, each.warnings) for each in made])

    return once(header.idempotency_key, body, work, lambda: services().ring("jobs")).response()
