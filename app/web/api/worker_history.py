"""A worker's history over HTTP: the jobs that it was given, and the changes of its health."""

from __future__ import annotations

from flask import Response

from app.actions import workers
from app.web.http import blueprints
from app.web.http.auth import READERS
from app.web.http.responses import answer
from app.web.http.schemas import PageQuery, WorkerPath
from app.web.http.services import services
from app.web.shapes.worker_history import TransitionList, WorkerJobList, jobs_given, transitions

blueprint = blueprints.group("history", reads=READERS)


@blueprint.get("/admin/workers/<id:worker>/jobs", responses={200: WorkerJobList})
def given(path: WorkerPath, query: PageQuery) -> Response:
    """List the jobs that a worker was given, newest first."""
    return answer(jobs_given(workers.find(services().ledger, path.worker).id, query))


@blueprint.get("/admin/workers/<id:worker>/transitions", responses={200: TransitionList})
def changes(path: WorkerPath, query: PageQuery) -> Response:
    """List the changes of a worker's health, newest first."""
    return answer(transitions(workers.find(services().ledger, path.worker).id, query))
