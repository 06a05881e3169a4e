"""One submission, by a form or as JSON: checked, kept and rung once for each idempotency key."""

from __future__ import annotations

from app.actions import jobs
from app.ledger.db import Ledger
from app.web.http.auth import caller
from app.web.http.idempotency import Answered, once
from app.web.http.services import services
from app.web.shapes.job_answers import JobAnswer, job_answer
from app.web.shapes.job_bodies import JobBody, spec_of


def submit(key: str | None, body: JobBody, allow_unknown: bool = False) -> Answered:
    """The new job, or for a known key the job of the first request. Raises what `once` and jobs.submit do."""

    def work(tx: Ledger) -> JobAnswer:
        [made] = jobs.submit(tx, services().settings, caller(), {"": spec_of(body)}, allow_unknown)
        return job_answer(made.job, None, made.warnings)

    return once(key, body, work, lambda: services().ring("jobs"))
