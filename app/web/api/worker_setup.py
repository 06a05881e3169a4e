"""What people set of a worker over HTTP: tags, groups, narrowing, slots, queue depth; all or none.

The ETag is the setup's version.
"""

from __future__ import annotations

from flask import Response

from app.actions import worker_setup
from app.web.api.workers import shown
from app.web.http import blueprints, etags
from app.web.http.auth import caller
from app.web.http.schemas import MatchHeader, WorkerPath
from app.web.http.services import services
from app.web.shapes.worker_answers import WorkerAnswer
from app.web.shapes.worker_bodies import WorkerBody

blueprint = blueprints.group("worker setup", reads=())


@blueprint.patch("/admin/workers/<id:worker>", responses={200: WorkerAnswer, 412: blueprints.problem_response()})
def change(path: WorkerPath, header: MatchHeader, body: WorkerBody) -> Response:
    """Change what people set of a worker; it holds at once for jobs that have not started."""
    changes = body.model_dump(exclude_unset=True)
    return shown(worker_setup.change(services(), caller(), path.worker, changes, etags.condition(header)))
